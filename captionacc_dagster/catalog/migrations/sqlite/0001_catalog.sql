-- The tables of the product's catalog as one machine needs them. Times are ISO-8601 UTC with microseconds, so that
-- comparing the text compares the times.

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
);

CREATE TABLE user_profiles (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    role TEXT NOT NULL DEFAULT 'annotator',
    access_tier_id TEXT NOT NULL DEFAULT 'demo'
        CHECK (access_tier_id IN ('demo', 'trial', 'active', 'enterprise'))
);
CREATE INDEX user_profiles_by_tenant ON user_profiles (tenant_id);

CREATE TABLE videos (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    display_path TEXT NOT NULL,
    storage_key TEXT NOT NULL,
    size_bytes INTEGER CHECK (size_bytes >= 0),
    content_sha256 TEXT CHECK (length(content_sha256) = 64),
    duration_seconds REAL CHECK (duration_seconds >= 0),
    width INTEGER CHECK (width > 0),
    height INTEGER CHECK (height > 0),
    video_codec TEXT,
    bitrate INTEGER,
    frame_count INTEGER CHECK (frame_count >= 0),
    status TEXT NOT NULL CHECK (status IN ('uploading', 'pending', 'processing', 'active', 'error')),
    caption_status TEXT CHECK (caption_status IN ('processing', 'ready', 'error')),
    error_message TEXT,
    failed_stage TEXT CHECK (failed_stage IN ('layout', 'extents', 'captions')),
    current_cropped_frames_version INTEGER,
    label_counts TEXT CHECK (label_counts IS NULL OR json_valid(label_counts)),
    captions_db_key TEXT,
    languages TEXT NOT NULL DEFAULT '',
    layout_requested_at TEXT NOT NULL,
    layout_approved_at TEXT,
    layout_approval_processed_at TEXT,
    captions_requested_at TEXT,
    captions_processed_at TEXT,
    uploaded_at TEXT,
    created_at TEXT NOT NULL,
    deleted_at TEXT
);
CREATE INDEX videos_by_age ON videos (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX videos_by_tenant ON videos (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX videos_by_content ON videos (tenant_id, content_sha256) WHERE deleted_at IS NULL;
CREATE INDEX videos_waiting_for_layout ON videos (layout_requested_at, id)
    WHERE status = 'pending' AND deleted_at IS NULL;
CREATE INDEX videos_waiting_for_extents ON videos (layout_approved_at, id)
    WHERE layout_approved_at > coalesce(layout_approval_processed_at, '') AND deleted_at IS NULL;
CREATE INDEX videos_waiting_for_captions ON videos (captions_requested_at, id)
    WHERE captions_requested_at > coalesce(captions_processed_at, '') AND deleted_at IS NULL;
CREATE INDEX videos_not_begun ON videos (created_at, id)
    WHERE status IN ('uploading', 'pending') AND deleted_at IS NULL;

-- One row for each database of a video that has ever been worked on; while lock_type is set, someone holds it.
CREATE TABLE video_database_state (
    video_id TEXT NOT NULL REFERENCES videos (id),
    database_name TEXT NOT NULL
        CHECK (database_name IN ('layout', 'caption_frame_extents', 'captions')),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    server_version INTEGER NOT NULL DEFAULT 0,
    wasabi_version INTEGER NOT NULL DEFAULT 0,
    wasabi_synced_at TEXT,
    lock_type TEXT CHECK (lock_type IN ('client', 'server')),
    lock_holder_user_id TEXT,
    -- Kept when a run gives up without a result or an annotator takes over: whose work it was.
    lock_holder_run_id TEXT,
    lock_expires_at TEXT,
    locked_at TEXT,
    last_activity_at TEXT,
    -- The approval or request the holder took up, so that a newer one survives this holder's failure.
    claimed_request_at TEXT,
    -- Who ended the work last and how, so that a repeated finish or fail is recognised.
    last_run_id TEXT,
    last_outcome TEXT CHECK (last_outcome IN ('finished', 'failed')),
    PRIMARY KEY (video_id, database_name),
    CHECK (lock_type IS NOT 'server' OR
           (lock_holder_user_id IS NULL AND lock_holder_run_id IS NOT NULL AND lock_expires_at IS NOT NULL)),
    CHECK (lock_type IS NOT 'client' OR lock_holder_user_id IS NOT NULL)
) WITHOUT ROWID;
CREATE INDEX work_begun ON video_database_state (lock_expires_at) WHERE lock_holder_run_id IS NOT NULL;

CREATE TABLE cropped_frames_versions (
    id INTEGER PRIMARY KEY,
    video_id TEXT NOT NULL REFERENCES videos (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    storage_prefix TEXT NOT NULL,
    crop_region TEXT NOT NULL CHECK (json_valid(crop_region)),
    frame_rate REAL NOT NULL,
    chunk_count INTEGER,
    total_frames INTEGER,
    total_size_bytes INTEGER,
    status TEXT NOT NULL CHECK (status IN ('processing', 'active', 'archived', 'failed')),
    run_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    activated_at TEXT,
    archived_at TEXT,
    UNIQUE (video_id, version)
);
CREATE UNIQUE INDEX one_active_version_a_video ON cropped_frames_versions (video_id) WHERE status = 'active';
