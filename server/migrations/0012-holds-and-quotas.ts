import type { Knex } from 'knex'

/**
 * Requests that the policy holds, what people said to them, what they park (deleted when they end, key and all), and what quotas have used up.
 * `id` is the operation that was held.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE holds (
      id uuid PRIMARY KEY,
      operation text NOT NULL,
      requester_kind text NOT NULL,
      requester_name text NOT NULL,
      requester_id text NOT NULL,
      requester_person text NOT NULL,
      digest bytea NOT NULL,
      salt bytea,
      facts text NOT NULL,
      rule text NOT NULL,
      revision text NOT NULL,
      approvals int NOT NULL CHECK (approvals > 0),
      approvers text[] NOT NULL,
      asked_at timestamptz(3) NOT NULL,
      deadline timestamptz(3) NOT NULL,
      state text NOT NULL CHECK (state IN ('waiting', 'run', 'refused', 'withdrawn', 'expired')),
      ended_by text,
      run_by uuid UNIQUE,
      reason text,
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE INDEX holds_waiting ON holds (deadline) WHERE state = 'waiting';
    CREATE INDEX holds_requester ON holds (requester_id, id);

    CREATE TABLE hold_inputs (
      id uuid PRIMARY KEY REFERENCES holds (id),
      algorithm text NOT NULL,
      wrapped bytea NOT NULL,
      parts bytea[] NOT NULL,
      version int NOT NULL,
      mac bytea NOT NULL
    );

    CREATE TABLE hold_approvals (
      hold_id uuid NOT NULL REFERENCES holds (id),
      person text NOT NULL,
      approver_kind text NOT NULL,
      approver_name text NOT NULL,
      approver_id text NOT NULL,
      digest bytea NOT NULL,
      at timestamptz(3) NOT NULL,
      mac bytea NOT NULL,
      PRIMARY KEY (hold_id, person)
    );

    CREATE TABLE quotas (
      key text NOT NULL,
      period text NOT NULL,
      used bigint NOT NULL CHECK (used >= 0),
      version int NOT NULL,
      mac bytea NOT NULL,
      PRIMARY KEY (key, period)
    );

    GRANT SELECT, INSERT, UPDATE ON holds, quotas TO gridseal_service;
    GRANT SELECT, INSERT, DELETE ON hold_inputs TO gridseal_service;
    GRANT SELECT, INSERT ON hold_approvals TO gridseal_service;
    GRANT UPDATE (wrapped, version, mac) ON hold_inputs TO gridseal_service;
    GRANT UPDATE (mac) ON hold_approvals TO gridseal_service;
  `)
}
