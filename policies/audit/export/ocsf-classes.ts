/**
 * Which OCSF class and activity each operation and event is told as: Open Cybersecurity Schema Framework 1.9.0 (https://schema.ocsf.io/1.9.0), categories `iam` and
 * `application`. Pure. Account Change (3001) and User Access Management (3005) are deprecated in 1.9.0: User Management takes their place. Authorize Session (3003) has
 * nothing here: a session gets no privileges of its own.
 */
export const OCSF_VERSION = '1.9.0'

interface OcsfClass {
  readonly uid: number
  readonly name: string
  readonly activities: Readonly<Record<number, string>>
}

const CRUD = { 1: 'Create', 2: 'Read', 3: 'Update', 4: 'Delete' } as const

export const OCSF_CLASSES = {
  authentication: { uid: 3002, name: 'Authentication', activities: { 1: 'Logon', 2: 'Logoff' } },
  entityManagement: {
    uid: 3004,
    name: 'Entity Management',
    activities: { ...CRUD, 6: 'Enroll', 7: 'Unenroll', 8: 'Enable', 9: 'Disable', 10: 'Activate', 11: 'Deactivate' },
  },
  userManagement: {
    uid: 3007,
    name: 'User Management',
    activities: {
      ...{ 1: 'Create', 2: 'Update', 4: 'Enable', 5: 'Disable', 6: 'Lock', 8: 'Password Change', 9: 'Password Reset' },
      ...{ 12: 'MFA Factor Enable', 14: 'Assign Privileges', 15: 'Remove Privileges' },
    },
  },
  applicationLifecycle: { uid: 6002, name: 'Application Lifecycle', activities: { 3: 'Start' } },
  apiActivity: { uid: 6003, name: 'API Activity', activities: CRUD },
} as const satisfies Record<string, OcsfClass>
export type OcsfClassName = keyof typeof OCSF_CLASSES

export interface OcsfPlace {
  readonly class: OcsfClassName
  readonly activity: number
}

/** What has a class of its own. Everything else is API Activity. */
const PLACES: Readonly<Record<string, readonly [OcsfClassName, number]>> = {
  'policies.session.open': ['authentication', 1],
  'policies.session.close': ['authentication', 2],
  'policies.session.revoke': ['authentication', 2],
  'policies.session.end-stolen': ['authentication', 2],
  'policies.person.end-sessions': ['authentication', 2],

  'policies.bootstrap.enrol': ['userManagement', 1],
  'policies.caller.register': ['userManagement', 1],
  'policies.caller.revoke': ['userManagement', 5],
  'policies.person.register': ['userManagement', 1],
  'policies.person.revoke': ['userManagement', 5],
  'policies.person.issue-ticket': ['userManagement', 2],
  'policies.password.set': ['userManagement', 9],
  'policies.password.change': ['userManagement', 8],
  'policies.password.freeze': ['userManagement', 6],
  'policies.totp.enrol': ['userManagement', 2],
  'policies.totp.confirm': ['userManagement', 12],
  'policies.admission.file': ['userManagement', 4],
  'policies.admission.change': ['userManagement', 2],
  'policies.admission.suspend': ['userManagement', 5],
  'policies.admission.resume': ['userManagement', 4],
  'policies.grant.issue': ['userManagement', 14],
  'policies.grant.revoke': ['userManagement', 15],

  'kms.authority.establish': ['entityManagement', 1],
  'kms.certificate.issue': ['entityManagement', 1],
  'kms.certificate.revoke': ['entityManagement', 9],
  'kms.crl.issue': ['entityManagement', 1],
  'kms.key.generate': ['entityManagement', 1],
  'kms.root-key.renew': ['entityManagement', 3],
  'kms.root-key.retire': ['entityManagement', 4],
  'kms.service-certificate.issue': ['entityManagement', 1],
  'card-personalization.profile.establish': ['entityManagement', 1],
  'card-personalization.transport-key.make': ['entityManagement', 1],
  'card-personalization.vendor.confirm': ['entityManagement', 8],
  'card-personalization.vendor.register': ['entityManagement', 1],
  'attestation.binding.bind': ['entityManagement', 6],
  'attestation.binding.approve-unbind': ['entityManagement', 7],
  'policies.revision.establish': ['entityManagement', 1],
  'policies.revision.activate': ['entityManagement', 10],
  'policies.revision.confirm': ['entityManagement', 8],
  'policies.revision.end-trial': ['entityManagement', 11],
  'policies.revision.roll-back': ['entityManagement', 11],

  'system.checkpoint-key-replaced': ['entityManagement', 3],
  'system.log-pruned': ['entityManagement', 4],
  'system.root-keys-added': ['entityManagement', 1],
  'system.started': ['applicationLifecycle', 3],
  'system.token-restored': ['entityManagement', 3],
}

/** Operations that have a place of their own: a test compares them with those that there are. */
export const PLACED_OPERATIONS: readonly string[] = Object.keys(PLACES)

/** By the verb, the last word of an operation's name. */
const READS = /^(get|list|search|query|count|find|reveal|history|proof|checkpoint|bundle|export|report|explain|rerun|evidence|fetch)(-|$)/
const CREATES = /^(submit|request|begin|make|generate|issue|register)(-|$)/

/** 99: none of the schema's activities; its name is the operation's verb. */
export const OTHER = 99

export function ocsfPlaceOf(operation: string): OcsfPlace {
  const place = Object.hasOwn(PLACES, operation) ? PLACES[operation] : undefined
  if (place !== undefined) return { class: place[0], activity: place[1] }
  const verb = verbOf(operation)
  return { class: 'apiActivity', activity: READS.test(verb) ? 2 : CREATES.test(verb) ? 1 : OTHER }
}

export const verbOf = (operation: string): string => operation.slice(operation.lastIndexOf('.') + 1)
