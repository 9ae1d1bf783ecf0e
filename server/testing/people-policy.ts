/** A policy for logins: who administers people, who logs in, and what auditors may do afterwards. */
export const peoplePolicy = (): string => `
policy: 2
owner: tests
zones:
  local: { networks: [127.0.0.0/8], listener: tls }
chains:
  - name: system
    rules:
      - { id: start, verdict: allow, reason: first start, callers: ["system:start", "system:profiles", "system:init"], operations: ["*"] }
      - { id: attestation, verdict: allow, reason: upkeep, callers: ["system:attestation"], operations: [attestation.decoy.establish, attestation.nonces.purge] }
      - { id: crl, verdict: allow, reason: CRLs, callers: ["system:crl"], operations: [kms.crl.issue] }
      - { id: stolen-sessions, verdict: allow, reason: sessions used from elsewhere end, callers: ["system:sessions"], operations: [policies.session.end-stolen] }
      - { id: frozen-passwords, verdict: allow, reason: passwords that somebody else knows, callers: ["system:login"], operations: [policies.password.freeze] }
  - name: local
    zones: [local]
    rules:
      - id: officers
        verdict: allow
        reason: people
        callers: ["officer:*"]
        strength: [certificate]
        operations: [policies.caller.*, policies.person.*, kms.certificate.*]
      - { id: auditors, verdict: allow, reason: the log, callers: ["auditor:*"], operations: [policies.audit.*] }
      - id: login
        verdict: allow
        reason: people log in
        callers: ["anonymous:*"]
        operations: [policies.session.open, policies.password.set, policies.totp.*]
      - id: selves
        verdict: allow
        reason: their own sessions and password
        callers: ["person:*"]
        operations: [policies.session.list, policies.session.close, policies.session.revoke, policies.password.change]
`
