-- The catalog's statements, one function each; sqlite.py says the same for one machine. A function is a transaction:
-- it happens whole or not at all. Whoever changes a video locks its row first, so that of two the second sees what the
-- first did, and any of them may be called again after a lost reply.
--
-- What cannot be done is raised with one of these codes, and nothing has happened:
--     CA404  there is no such video
--     CA409  someone else holds the work; the detail is the run's id, or empty for an annotator
--     CA410  the run does not hold the work any more
--     CA412  another run has made what was asked for
--     CA403  what was asked for is another's; the message says what

-- --- what the functions below are made of

CREATE FUNCTION database_of(p_stage text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT CASE p_stage
        WHEN 'layout' THEN 'layout'
        WHEN 'extents' THEN 'caption_frame_extents'
        WHEN 'captions' THEN 'captions'
    END
$$;

CREATE FUNCTION later_than(p_before timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    -- In any case a later time than the one before: clocks are sometimes set back.
    SELECT greatest(clock_timestamp(), p_before + interval '1 microsecond')
$$;

CREATE FUNCTION nobody_holds(p_video_id uuid, p_stage text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT NOT EXISTS (
        SELECT 1 FROM video_database_state
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND (lock_type = 'client' OR (lock_type = 'server' AND lock_expires_at > now())))
$$;

CREATE FUNCTION lock_video(p_video_id uuid) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT FROM videos WHERE id = p_video_id FOR NO KEY UPDATE
$$;

CREATE FUNCTION locked_video(p_video_id uuid) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    found_video videos;
BEGIN
    SELECT * INTO found_video FROM videos
        WHERE id = p_video_id AND deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING errcode = 'CA404', message = 'no such video';
    END IF;
    RETURN found_video;
END
$$;

CREATE FUNCTION require_holder(p_video_id uuid, p_stage text, p_run_id text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM video_database_state
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND lock_type = 'server' AND lock_holder_run_id = p_run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING errcode = 'CA410', message = 'the run does not hold the work';
    END IF;
END
$$;

CREATE FUNCTION forget_failure(p_video_id uuid, p_stages text[]) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    UPDATE videos SET error_message = NULL, failed_stage = NULL
        WHERE id = p_video_id AND failed_stage = ANY (p_stages)
$$;

CREATE FUNCTION give_up_reserved_versions(p_video_id uuid) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    UPDATE cropped_frames_versions SET status = 'failed'
        WHERE video_id = p_video_id AND status = 'processing'
$$;

CREATE FUNCTION ended_before(p_video_id uuid, p_stage text, p_run_id text, p_outcome text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (
        SELECT 1 FROM video_database_state
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND last_run_id = p_run_id AND last_outcome = p_outcome)
$$;

CREATE FUNCTION end_work(p_video_id uuid, p_stage text, p_run_id text, p_outcome text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
-- Gives up the lease and notes the outcome: finished or failed. False if the run may not say so.
BEGIN
    UPDATE video_database_state SET lock_type = NULL, lock_holder_run_id = NULL, lock_expires_at = NULL,
            locked_at = NULL, last_activity_at = clock_timestamp(),
            last_run_id = p_run_id, last_outcome = p_outcome
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND lock_holder_run_id = p_run_id
            -- A failure counts also after the lease was released, as long as nobody else began.
            AND (lock_type = 'server' OR (lock_type IS NULL AND p_outcome = 'failed'));
    RETURN FOUND;
END
$$;

CREATE FUNCTION finish_work(p_video_id uuid, p_stage text, p_run_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
-- Gives up the lease to record a result; false if that was done before.
BEGIN
    PERFORM lock_video(p_video_id);
    IF NOT end_work(p_video_id, p_stage, p_run_id, 'finished') THEN
        IF ended_before(p_video_id, p_stage, p_run_id, 'finished') THEN
            RETURN false;
        END IF;
        RAISE EXCEPTION USING errcode = 'CA410', message = 'the run does not hold the work';
    END IF;
    UPDATE video_database_state SET server_version = server_version + 1, wasabi_version = server_version + 1,
            wasabi_synced_at = clock_timestamp()
        WHERE video_id = p_video_id AND database_name = database_of(p_stage);
    DELETE FROM compute_calls WHERE video_id = p_video_id AND database_name = database_of(p_stage);
    RETURN true;
END
$$;

-- --- videos

CREATE FUNCTION add_video(
    p_video_id uuid, p_tenant_id uuid, p_display_path text, p_storage_key text, p_size_bytes bigint,
    p_content_sha256 text, p_languages text, p_status text
) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    added videos;
BEGIN
    INSERT INTO tenants (id, name, slug) VALUES (p_tenant_id, p_tenant_id, p_tenant_id) ON CONFLICT DO NOTHING;
    -- A deleted video that comes back keeps its id and its version numbers, nothing else.
    INSERT INTO videos (id, tenant_id, display_path, storage_key, size_bytes, content_sha256, languages, status,
            created_at, layout_requested_at, uploaded_at)
        VALUES (p_video_id, p_tenant_id, p_display_path, p_storage_key, p_size_bytes, p_content_sha256,
            p_languages, p_status, moment, moment, CASE WHEN p_status <> 'uploading' THEN moment END)
        ON CONFLICT (id) DO UPDATE SET display_path = excluded.display_path,
            storage_key = excluded.storage_key, size_bytes = excluded.size_bytes,
            content_sha256 = excluded.content_sha256, languages = excluded.languages,
            status = excluded.status, created_at = excluded.created_at,
            layout_requested_at = excluded.layout_requested_at, uploaded_at = excluded.uploaded_at,
            deleted_at = NULL, duration_seconds = NULL, width = NULL, height = NULL, video_codec = NULL,
            bitrate = NULL, frame_count = NULL, caption_status = NULL, error_message = NULL,
            failed_stage = NULL, current_cropped_frames_version = NULL, label_counts = NULL,
            captions_db_key = NULL, layout_approved_at = NULL, layout_approval_processed_at = NULL,
            captions_requested_at = NULL, captions_processed_at = NULL
        WHERE videos.deleted_at IS NOT NULL AND videos.tenant_id = excluded.tenant_id;
    SELECT * INTO added FROM videos WHERE id = p_video_id;
    IF added.tenant_id <> p_tenant_id THEN
        RAISE EXCEPTION USING errcode = 'CA403',
            message = format('There is a video %s already, and it is another tenant''s.', p_video_id);
    END IF;
    RETURN added;
END
$$;

CREATE FUNCTION find_video(p_video_id uuid) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(SELECT videos FROM videos WHERE id = p_video_id AND deleted_at IS NULL)
$$;

CREATE FUNCTION find_by_content(p_tenant_id uuid, p_content_sha256 text) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT videos FROM videos
        WHERE tenant_id = p_tenant_id AND content_sha256 = p_content_sha256 AND deleted_at IS NULL
        ORDER BY created_at, id LIMIT 1)
$$;

CREATE FUNCTION videos_after(p_tenant_id uuid, p_created_at timestamptz, p_video_id uuid, p_limit integer)
RETURNS videos[]
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
-- The next page, oldest first, of one tenant's videos or, for NULL, of everybody's.
BEGIN
    IF p_tenant_id IS NULL THEN
        RETURN array(
            SELECT videos FROM videos
            WHERE (created_at, id) > (p_created_at, p_video_id) AND deleted_at IS NULL
            ORDER BY created_at, id LIMIT p_limit);
    END IF;
    RETURN array(
        SELECT videos FROM videos
        WHERE tenant_id = p_tenant_id AND (created_at, id) > (p_created_at, p_video_id)
            AND deleted_at IS NULL
        ORDER BY created_at, id LIMIT p_limit);
END
$$;

CREATE FUNCTION set_languages(p_video_id uuid, p_languages text) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM locked_video(p_video_id);
    UPDATE videos SET languages = p_languages WHERE id = p_video_id;
    RETURN locked_video(p_video_id);
END
$$;

CREATE FUNCTION delete_video(p_video_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE videos SET deleted_at = coalesce(deleted_at, clock_timestamp()) WHERE id = p_video_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING errcode = 'CA404', message = 'no such video';
    END IF;
    DELETE FROM compute_calls WHERE video_id = p_video_id;
    -- Whoever is at work on it learns from its next heartbeat.
    UPDATE video_database_state SET lock_type = NULL, lock_holder_user_id = NULL, lock_holder_run_id = NULL,
            lock_expires_at = NULL
        WHERE video_id = p_video_id;
    UPDATE cropped_frames_versions SET status = 'archived', archived_at = clock_timestamp()
        WHERE video_id = p_video_id AND status = 'active';
END
$$;

CREATE FUNCTION tier(p_tenant_id uuid) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    -- A tenant has the tier of its best user.
    SELECT CASE
        WHEN bool_or(access_tier_id = 'enterprise') THEN 'enterprise'
        WHEN bool_or(access_tier_id = 'active') THEN 'premium'
        ELSE 'free'
    END FROM user_profiles WHERE tenant_id = p_tenant_id
$$;

-- --- what is waiting

CREATE FUNCTION waiting_for_layout(p_limit integer) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT videos FROM videos
        WHERE status = 'pending' AND deleted_at IS NULL AND nobody_holds(id, 'layout')
        ORDER BY layout_requested_at, id LIMIT p_limit)
$$;

CREATE FUNCTION waiting_for_extents(p_limit integer) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT videos FROM videos
        WHERE layout_approved_at > coalesce(layout_approval_processed_at, '-infinity') AND deleted_at IS NULL
            AND status = 'active' AND nobody_holds(id, 'extents')
        ORDER BY layout_approved_at, id LIMIT p_limit)
$$;

CREATE FUNCTION waiting_for_captions(p_limit integer) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT videos FROM videos
        WHERE captions_requested_at > coalesce(captions_processed_at, '-infinity') AND deleted_at IS NULL
            AND current_cropped_frames_version IS NOT NULL AND nobody_holds(id, 'captions')
        ORDER BY captions_requested_at, id LIMIT p_limit)
$$;

CREATE FUNCTION with_captions(p_after_id text, p_limit integer) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT videos FROM videos
        WHERE caption_status = 'ready' AND deleted_at IS NULL
            AND id > coalesce(nullif(p_after_id, '')::uuid, '00000000-0000-0000-0000-000000000000')
        ORDER BY id LIMIT p_limit)
$$;

CREATE FUNCTION stuck(p_older_than_s double precision, p_limit integer) RETURNS videos[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT videos FROM videos
        WHERE status IN ('uploading', 'pending') AND deleted_at IS NULL
            AND created_at < now() - make_interval(secs => p_older_than_s)
        ORDER BY created_at, id LIMIT p_limit)
$$;

CREATE FUNCTION held_by_expired_lease(p_ttl_s double precision, p_limit integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('video', video, 'stage', stage, 'run_id', run_id)), '[]')
    FROM (
        SELECT to_jsonb(videos) AS video, lock_holder_run_id AS run_id,
            CASE database_name WHEN 'caption_frame_extents' THEN 'extents' ELSE database_name END AS stage
        FROM video_database_state JOIN videos ON videos.id = video_id
        WHERE lock_holder_run_id IS NOT NULL
            AND ((lock_type = 'server' AND lock_expires_at <= now())
                OR (lock_type IS NULL AND last_activity_at <= now() - make_interval(secs => p_ttl_s)))
            AND CASE database_name WHEN 'layout' THEN status ELSE caption_status END = 'processing'
            AND deleted_at IS NULL
        ORDER BY last_activity_at LIMIT p_limit
    ) AS lost
$$;

-- --- a stage's work

CREATE FUNCTION is_answered(video videos, p_stage text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT video.failed_stage IS DISTINCT FROM p_stage AND CASE p_stage
        WHEN 'layout' THEN video.status = 'active'
        WHEN 'extents' THEN video.layout_approval_processed_at IS NOT DISTINCT FROM video.layout_approved_at
            AND video.current_cropped_frames_version IS NOT NULL
        WHEN 'captions' THEN video.caption_status IS NOT DISTINCT FROM 'ready'
            AND video.captions_processed_at IS NOT DISTINCT FROM video.captions_requested_at
    END
$$;

CREATE FUNCTION claim(
    p_video_id uuid, p_stage text, p_run_id text, p_ttl_s double precision, p_unless_answered boolean
) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    claimed videos := locked_video(p_video_id);
    moment timestamptz := clock_timestamp();
    taken_up timestamptz := CASE p_stage
        WHEN 'extents' THEN claimed.layout_approved_at
        WHEN 'captions' THEN claimed.captions_requested_at
    END;
    holder text;
BEGIN
    IF p_unless_answered AND is_answered(claimed, p_stage) THEN
        RAISE EXCEPTION USING errcode = 'CA412', message = 'another run has made it';
    END IF;
    INSERT INTO video_database_state AS state (video_id, database_name, tenant_id, lock_type,
            lock_holder_run_id, lock_expires_at, locked_at, last_activity_at, claimed_request_at)
        VALUES (p_video_id, database_of(p_stage), claimed.tenant_id, 'server', p_run_id,
            moment + make_interval(secs => p_ttl_s), moment, moment, taken_up)
        ON CONFLICT (video_id, database_name) DO UPDATE SET lock_type = 'server', lock_holder_user_id = NULL,
            lock_holder_run_id = excluded.lock_holder_run_id, lock_expires_at = excluded.lock_expires_at,
            locked_at = excluded.locked_at, last_activity_at = excluded.last_activity_at,
            claimed_request_at = excluded.claimed_request_at
        WHERE state.lock_type IS NULL
            OR (state.lock_type = 'server'
                AND (state.lock_holder_run_id = p_run_id OR state.lock_expires_at <= moment));
    IF NOT FOUND THEN
        SELECT CASE lock_type WHEN 'server' THEN lock_holder_run_id END INTO holder FROM video_database_state
            WHERE video_id = p_video_id AND database_name = database_of(p_stage);
        RAISE EXCEPTION USING errcode = 'CA409', message = 'someone else holds the work',
            detail = coalesce(holder, '');
    END IF;
    IF p_stage = 'layout' THEN
        UPDATE videos SET status = 'processing' WHERE id = p_video_id;
        PERFORM forget_failure(p_video_id, '{layout}');
    ELSE
        UPDATE videos SET caption_status = 'processing' WHERE id = p_video_id;
        PERFORM forget_failure(p_video_id, '{extents,captions}');
    END IF;
    RETURN locked_video(p_video_id);
END
$$;

CREATE FUNCTION renew(p_video_id uuid, p_stage text, p_run_id text, p_ttl_s double precision) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE video_database_state SET last_activity_at = clock_timestamp(),
            lock_expires_at = clock_timestamp() + make_interval(secs => p_ttl_s)
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND lock_type = 'server' AND lock_holder_run_id = p_run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING errcode = 'CA410', message = 'the run does not hold the work';
    END IF;
END
$$;

CREATE FUNCTION finish_layout(
    p_video_id uuid, p_run_id text, p_duration_seconds double precision, p_width integer, p_height integer,
    p_video_codec text, p_bitrate bigint, p_frame_count integer
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT finish_work(p_video_id, 'layout', p_run_id) THEN
        RETURN;
    END IF;
    UPDATE videos SET status = 'active', duration_seconds = p_duration_seconds, width = p_width,
            height = p_height, video_codec = p_video_codec, bitrate = p_bitrate, frame_count = p_frame_count
        WHERE id = p_video_id;
    PERFORM forget_failure(p_video_id, '{layout}');
END
$$;

CREATE FUNCTION reserve_cropped_frames(
    p_video_id uuid, p_run_id text, p_crop_region jsonb, p_frame_rate double precision, p_request_id uuid
) RETURNS cropped_frames_versions
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    reserved cropped_frames_versions;
    newest integer;
BEGIN
    PERFORM lock_video(p_video_id);
    SELECT * INTO reserved FROM cropped_frames_versions WHERE request_id = p_request_id;
    IF FOUND THEN
        RETURN reserved;
    END IF;
    PERFORM require_holder(p_video_id, 'extents', p_run_id);
    SELECT coalesce(max(version), 0) INTO newest FROM cropped_frames_versions WHERE video_id = p_video_id;
    -- The newest version, if it is for this region, was never activated and a call may be computing it.
    UPDATE cropped_frames_versions SET status = 'processing', run_id = p_run_id, request_id = p_request_id
        WHERE video_id = p_video_id AND version = newest AND status IN ('processing', 'failed')
            AND crop_region = p_crop_region
            AND EXISTS (SELECT 1 FROM compute_calls
                        WHERE video_id = p_video_id AND database_name = database_of('extents'))
        RETURNING * INTO reserved;
    IF FOUND THEN
        RETURN reserved;
    END IF;
    -- Whatever was reserved before, by a lost run or an earlier try of this one, is never finished.
    PERFORM give_up_reserved_versions(p_video_id);
    INSERT INTO cropped_frames_versions (video_id, tenant_id, version, storage_prefix, crop_region, frame_rate,
            status, run_id, request_id)
        SELECT id, tenant_id, newest + 1,
            format('%s/client/videos/%s/cropped_frames_v%s', tenant_id, id, newest + 1), p_crop_region,
            p_frame_rate, 'processing', p_run_id, p_request_id
        FROM videos WHERE id = p_video_id
        RETURNING * INTO reserved;
    RETURN reserved;
END
$$;

CREATE FUNCTION finish_extents(
    p_video_id uuid, p_run_id text, p_version integer, p_frame_count integer, p_chunk_count integer,
    p_total_size_bytes bigint, p_label_counts jsonb, p_approved_at timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT finish_work(p_video_id, 'extents', p_run_id) THEN
        RETURN;
    END IF;
    UPDATE cropped_frames_versions SET status = 'archived', archived_at = clock_timestamp()
        WHERE video_id = p_video_id AND status = 'active';
    UPDATE cropped_frames_versions SET status = 'active', activated_at = clock_timestamp(),
            chunk_count = p_chunk_count, total_frames = p_frame_count, total_size_bytes = p_total_size_bytes
        WHERE video_id = p_video_id AND version = p_version AND run_id = p_run_id AND status = 'processing';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING errcode = 'CA403', message = format(
            'Version %s of the cropped frames of %s is not this run''s.', p_version, p_video_id);
    END IF;
    UPDATE videos SET current_cropped_frames_version = p_version, label_counts = p_label_counts,
            layout_approval_processed_at = coalesce(p_approved_at, layout_approval_processed_at),
            captions_requested_at = later_than(captions_requested_at)
        WHERE id = p_video_id;
END
$$;

CREATE FUNCTION finish_captions(
    p_video_id uuid, p_run_id text, p_captions_db_key text, p_requested_at timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT finish_work(p_video_id, 'captions', p_run_id) THEN
        RETURN;
    END IF;
    UPDATE videos SET caption_status = 'ready', captions_db_key = p_captions_db_key,
            captions_processed_at = coalesce(p_requested_at, captions_processed_at)
        WHERE id = p_video_id;
    PERFORM forget_failure(p_video_id, '{extents,captions}');
END
$$;

CREATE FUNCTION fail(p_video_id uuid, p_stage text, p_run_id text, p_message text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    taken_up timestamptz;
BEGIN
    PERFORM lock_video(p_video_id);
    IF NOT end_work(p_video_id, p_stage, p_run_id, 'failed') THEN
        RETURN ended_before(p_video_id, p_stage, p_run_id, 'failed');
    END IF;
    SELECT claimed_request_at INTO taken_up FROM video_database_state
        WHERE video_id = p_video_id AND database_name = database_of(p_stage);
    UPDATE videos SET error_message = p_message, failed_stage = p_stage WHERE id = p_video_id;
    IF p_stage = 'layout' THEN
        UPDATE videos SET status = 'error' WHERE id = p_video_id;
    ELSIF p_stage = 'extents' THEN
        UPDATE videos SET caption_status = 'error',
                layout_approval_processed_at = coalesce(taken_up, layout_approval_processed_at)
            WHERE id = p_video_id;
        PERFORM give_up_reserved_versions(p_video_id);
    ELSE
        UPDATE videos SET caption_status = 'error',
                captions_processed_at = coalesce(taken_up, captions_processed_at)
            WHERE id = p_video_id;
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION record_call(
    p_video_id uuid, p_stage text, p_run_id text, p_order text, p_request_digest text, p_call_id text
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM lock_video(p_video_id);
    PERFORM require_holder(p_video_id, p_stage, p_run_id);
    INSERT INTO compute_calls
            (video_id, database_name, order_name, request_digest, call_id, run_id, recorded_at)
        VALUES (p_video_id, database_of(p_stage), p_order, p_request_digest, p_call_id, p_run_id,
            clock_timestamp())
        ON CONFLICT (video_id, database_name, order_name) DO UPDATE SET
            request_digest = excluded.request_digest, call_id = excluded.call_id, run_id = excluded.run_id,
            recorded_at = excluded.recorded_at;
END
$$;

CREATE FUNCTION find_call(p_video_id uuid, p_stage text, p_order text) RETURNS compute_calls[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT compute_calls FROM compute_calls
        WHERE video_id = p_video_id AND database_name = database_of(p_stage) AND order_name = p_order)
$$;

CREATE FUNCTION forget_call(p_video_id uuid, p_stage text, p_run_id text, p_order text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM compute_calls
        WHERE video_id = p_video_id AND database_name = database_of(p_stage) AND order_name = p_order
            AND run_id = p_run_id;
    RETURN NOT EXISTS (
        SELECT 1 FROM compute_calls
        WHERE video_id = p_video_id AND database_name = database_of(p_stage) AND order_name = p_order);
END
$$;

CREATE FUNCTION release(p_video_id uuid, p_stage text, p_run_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    released boolean;
BEGIN
    PERFORM lock_video(p_video_id);
    UPDATE video_database_state SET lock_type = NULL, lock_expires_at = NULL, locked_at = NULL,
            last_activity_at = clock_timestamp()
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND lock_type = 'server' AND lock_holder_run_id = p_run_id;
    released := FOUND;
    UPDATE video_database_state SET lock_holder_run_id = NULL
        WHERE video_id = p_video_id AND database_name = database_of(p_stage)
            AND lock_type = 'client' AND lock_holder_run_id = p_run_id;
    IF FOUND THEN
        -- What an annotator took away is asked for anew: the sensors start one run for each request.
        UPDATE videos SET
                status = CASE p_stage WHEN 'layout' THEN 'pending' ELSE status END,
                layout_requested_at = CASE p_stage
                    WHEN 'layout' THEN later_than(layout_requested_at) ELSE layout_requested_at END,
                layout_approved_at = CASE p_stage
                    WHEN 'extents' THEN later_than(layout_approved_at) ELSE layout_approved_at END,
                captions_requested_at = CASE p_stage
                    WHEN 'captions' THEN later_than(captions_requested_at) ELSE captions_requested_at END
            WHERE id = p_video_id;
    END IF;
    RETURN released;
END
$$;

-- --- what people ask for

CREATE FUNCTION approve_layout(p_video_id uuid, p_request_id uuid, p_again boolean) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM locked_video(p_video_id);
    UPDATE videos SET layout_approved_at = later_than(layout_approved_at), last_request_id = p_request_id
        WHERE id = p_video_id AND last_request_id IS DISTINCT FROM p_request_id
            AND (p_again OR layout_approved_at IS NULL);
    RETURN locked_video(p_video_id);
END
$$;

CREATE FUNCTION request_captions(p_video_id uuid, p_request_id uuid) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM locked_video(p_video_id);
    UPDATE videos SET captions_requested_at = later_than(captions_requested_at), last_request_id = p_request_id
        WHERE id = p_video_id AND last_request_id IS DISTINCT FROM p_request_id;
    RETURN locked_video(p_video_id);
END
$$;

CREATE FUNCTION retry(p_video_id uuid) RETURNS videos
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    failed videos := locked_video(p_video_id);
BEGIN
    IF failed.status = 'error' THEN
        UPDATE videos SET status = 'pending', layout_requested_at = later_than(layout_requested_at)
            WHERE id = p_video_id;
        PERFORM forget_failure(p_video_id, '{layout}');
    ELSIF failed.caption_status = 'error' THEN
        IF failed.failed_stage = 'captions' THEN
            UPDATE videos SET captions_requested_at = later_than(captions_requested_at) WHERE id = p_video_id;
        ELSE
            UPDATE videos SET layout_approved_at = later_than(layout_approved_at) WHERE id = p_video_id;
        END IF;
        UPDATE videos SET caption_status = NULL WHERE id = p_video_id;
        PERFORM forget_failure(p_video_id, '{extents,captions}');
    END IF;
    RETURN locked_video(p_video_id);
END
$$;

-- --- versions

CREATE FUNCTION versions_of(p_video_id uuid) RETURNS cropped_frames_versions[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT array(
        SELECT cropped_frames_versions FROM cropped_frames_versions
        WHERE video_id = p_video_id ORDER BY version)
$$;

CREATE FUNCTION schema_version() RETURNS integer
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT max(version) FROM schema_migrations
$$;

CREATE FUNCTION count_videos() RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT count(*) FROM videos WHERE deleted_at IS NULL
$$;
