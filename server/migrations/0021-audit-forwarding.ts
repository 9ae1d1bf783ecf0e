import type { Knex } from 'knex'

/** How far each receiver of a log is known to have read it. A position only moves on: the trigger says so to the owner as well. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE audit_forwarding (
      origin text NOT NULL,
      receiver text NOT NULL,
      position bigint NOT NULL CHECK (position >= 0),
      moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      PRIMARY KEY (origin, receiver)
    );
    CREATE FUNCTION audit_forwarding_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.position < OLD.position THEN
        RAISE EXCEPTION 'what a receiver has read is not taken back' USING ERRCODE = 'insufficient_privilege';
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER moves_on BEFORE UPDATE ON audit_forwarding FOR EACH ROW EXECUTE FUNCTION audit_forwarding_moves_on();
    GRANT SELECT, INSERT ON audit_forwarding TO gridseal_service;
    GRANT UPDATE (position, moved_at) ON audit_forwarding TO gridseal_service;
  `)
}
