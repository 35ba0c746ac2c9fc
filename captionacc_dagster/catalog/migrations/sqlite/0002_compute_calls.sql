-- Computations ordered from a machine elsewhere, on record until the stage's result is: whoever goes on with the work
-- of a run that died finds its call here instead of paying for another.
CREATE TABLE compute_calls (
    video_id TEXT NOT NULL REFERENCES videos (id),
    database_name TEXT NOT NULL
        CHECK (database_name IN ('layout', 'caption_frame_extents', 'captions')),
    order_name TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    call_id TEXT NOT NULL,
    -- Whose call it is: only that run may cancel it.
    run_id TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (video_id, database_name, order_name)
) WITHOUT ROWID;
