-- The tables of the product's catalog, as the SQLite one has them. Names stand without a schema: whoever applies this
-- has put the schema first in search_path.

CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    slug text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE user_profiles (
    id uuid PRIMARY KEY, -- as in auth.users
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    role text NOT NULL DEFAULT 'annotator',
    access_tier_id text NOT NULL DEFAULT 'demo'
        CHECK (access_tier_id IN ('demo', 'trial', 'active', 'enterprise')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX user_profiles_by_tenant ON user_profiles (tenant_id);

CREATE TABLE videos (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    display_path text NOT NULL,
    storage_key text NOT NULL,
    size_bytes bigint CHECK (size_bytes >= 0),
    content_sha256 text CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    duration_seconds double precision CHECK (duration_seconds >= 0),
    width integer CHECK (width > 0),
    height integer CHECK (height > 0),
    video_codec text,
    bitrate bigint,
    frame_count integer CHECK (frame_count >= 0),
    status text NOT NULL CHECK (status IN ('uploading', 'pending', 'processing', 'active', 'error')),
    caption_status text CHECK (caption_status IN ('processing', 'ready', 'error')),
    error_message text,
    failed_stage text CHECK (failed_stage IN ('layout', 'extents', 'captions')),
    current_cropped_frames_version integer,
    label_counts jsonb CHECK (jsonb_typeof(label_counts) = 'object'),
    captions_db_key text,
    languages text NOT NULL DEFAULT '',
    layout_requested_at timestamptz NOT NULL DEFAULT now(),
    layout_approved_at timestamptz,
    layout_approval_processed_at timestamptz,
    captions_requested_at timestamptz,
    captions_processed_at timestamptz,
    -- Which call asked last, so that the same one, sent again because its reply was lost, asks no second time.
    last_request_id uuid,
    uploaded_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (id, tenant_id)
);
CREATE INDEX videos_by_age ON videos (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX videos_by_tenant ON videos (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX videos_by_content ON videos (tenant_id, content_sha256) WHERE deleted_at IS NULL;
CREATE INDEX videos_waiting_for_layout ON videos (layout_requested_at, id)
    WHERE status = 'pending' AND deleted_at IS NULL;
CREATE INDEX videos_waiting_for_extents ON videos (layout_approved_at, id)
    WHERE layout_approved_at > coalesce(layout_approval_processed_at, '-infinity') AND deleted_at IS NULL;
CREATE INDEX videos_waiting_for_captions ON videos (captions_requested_at, id)
    WHERE captions_requested_at > coalesce(captions_processed_at, '-infinity') AND deleted_at IS NULL;
CREATE INDEX videos_not_begun ON videos (created_at, id)
    WHERE status IN ('uploading', 'pending') AND deleted_at IS NULL;
CREATE INDEX videos_with_captions ON videos (id) WHERE caption_status = 'ready' AND deleted_at IS NULL;

-- One row for each database of a video that has ever been worked on; while lock_type is set, someone holds it.
-- Here and below, a row is of its video's tenant: the foreign key holds both.
CREATE TABLE video_database_state (
    video_id uuid NOT NULL,
    database_name text NOT NULL CHECK (database_name IN ('layout', 'caption_frame_extents', 'captions')),
    tenant_id uuid NOT NULL,
    server_version bigint NOT NULL DEFAULT 0,
    wasabi_version bigint NOT NULL DEFAULT 0,
    wasabi_synced_at timestamptz,
    lock_type text CHECK (lock_type IN ('client', 'server')),
    lock_holder_user_id uuid,
    -- Kept when a run gives up without a result or an annotator takes over: whose work it was.
    lock_holder_run_id text,
    lock_expires_at timestamptz,
    locked_at timestamptz,
    last_activity_at timestamptz,
    -- The approval or request the holder took up, so that a newer one survives this holder's failure.
    claimed_request_at timestamptz,
    -- Who ended the work last and how, so that a repeated finish or fail is recognised.
    last_run_id text,
    last_outcome text CHECK (last_outcome IN ('finished', 'failed')),
    PRIMARY KEY (video_id, database_name),
    FOREIGN KEY (video_id, tenant_id) REFERENCES videos (id, tenant_id),
    CHECK (lock_type IS DISTINCT FROM 'server' OR
           (lock_holder_user_id IS NULL AND lock_holder_run_id IS NOT NULL AND lock_expires_at IS NOT NULL)),
    CHECK (lock_type IS DISTINCT FROM 'client' OR lock_holder_user_id IS NOT NULL)
);
CREATE INDEX work_begun ON video_database_state (last_activity_at) WHERE lock_holder_run_id IS NOT NULL;
CREATE INDEX video_database_state_by_tenant ON video_database_state (tenant_id);

CREATE TABLE cropped_frames_versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    video_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    storage_prefix text NOT NULL,
    crop_region jsonb NOT NULL CHECK (jsonb_typeof(crop_region) = 'object'),
    frame_rate double precision NOT NULL,
    chunk_count integer,
    total_frames integer,
    total_size_bytes bigint,
    status text NOT NULL CHECK (status IN ('processing', 'active', 'archived', 'failed')),
    run_id text NOT NULL,
    -- Which call reserved it, so that the same one, sent again because its reply was lost, reserves no second one.
    request_id uuid NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    archived_at timestamptz,
    UNIQUE (video_id, version),
    FOREIGN KEY (video_id, tenant_id) REFERENCES videos (id, tenant_id)
);
CREATE UNIQUE INDEX one_active_version_a_video ON cropped_frames_versions (video_id) WHERE status = 'active';
CREATE INDEX cropped_frames_versions_by_tenant ON cropped_frames_versions (tenant_id);

-- Computations ordered from a machine elsewhere, on record until the stage's result is: whoever goes on with the work
-- of a run that died finds its call here instead of paying for another.
CREATE TABLE compute_calls (
    video_id uuid NOT NULL REFERENCES videos (id),
    database_name text NOT NULL CHECK (database_name IN ('layout', 'caption_frame_extents', 'captions')),
    order_name text NOT NULL,
    request_digest text NOT NULL,
    call_id text NOT NULL,
    -- Whose call it is: only that run may cancel it.
    run_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (video_id, database_name, order_name)
);
