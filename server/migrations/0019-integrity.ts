import type { Knex } from 'knex'

/** What the comparison of the tables with the log found, and its passes. They decide nothing: what was found stands in the log too. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE integrity_passes (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      started_at timestamptz(3) NOT NULL,
      ended_at timestamptz(3) NOT NULL,
      entries bigint NOT NULL,
      rows bigint NOT NULL,
      findings int NOT NULL
    );

    CREATE TABLE integrity_findings (
      code text NOT NULL,
      subject text NOT NULL,
      detail text NOT NULL,
      -- index of the entry that named it last
      since bigint,
      found_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
      ended_at timestamptz(3),
      PRIMARY KEY (code, subject)
    );
    CREATE INDEX integrity_findings_open ON integrity_findings (found_at) WHERE ended_at IS NULL;

    GRANT SELECT, INSERT ON integrity_passes TO gridseal_service;
    GRANT SELECT, INSERT ON integrity_findings TO gridseal_service;
    GRANT UPDATE (detail, since, found_at, ended_at) ON integrity_findings TO gridseal_service;
  `)
}
