-- Who may do what. The pipeline and the product's API come as service_role and may do everything. A user of a tenant
-- reads that tenant's rows and changes none. Anybody else sees nothing, whatever the database grants by default.

CREATE FUNCTION current_tenant_id() RETURNS uuid
-- With its owner's rights: the policy on user_profiles could not read user_profiles otherwise.
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT tenant_id FROM user_profiles WHERE id = auth.uid()
$$;

ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE videos ENABLE ROW LEVEL SECURITY;
ALTER TABLE video_database_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE cropped_frames_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE compute_calls ENABLE ROW LEVEL SECURITY;

-- The inner SELECT lets the tenant be looked up once a query, not once a row.
CREATE POLICY of_own_tenant ON tenants FOR SELECT TO authenticated
    USING (id = (SELECT current_tenant_id()));
CREATE POLICY of_own_tenant ON user_profiles FOR SELECT TO authenticated
    USING (tenant_id = (SELECT current_tenant_id()));
CREATE POLICY of_own_tenant ON videos FOR SELECT TO authenticated
    USING (tenant_id = (SELECT current_tenant_id()));
CREATE POLICY of_own_tenant ON video_database_state FOR SELECT TO authenticated
    USING (tenant_id = (SELECT current_tenant_id()));
CREATE POLICY of_own_tenant ON cropped_frames_versions FOR SELECT TO authenticated
    USING (tenant_id = (SELECT current_tenant_id()));

DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC, anon, authenticated', current_schema());
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC, anon, authenticated', current_schema());
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC, anon, authenticated', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO authenticated, service_role', current_schema());
    EXECUTE format('GRANT ALL ON ALL TABLES IN SCHEMA %I TO service_role', current_schema());
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO service_role', current_schema());
END
$$;

GRANT SELECT ON tenants, user_profiles, videos, video_database_state, cropped_frames_versions TO authenticated;
GRANT EXECUTE ON FUNCTION current_tenant_id() TO authenticated;
