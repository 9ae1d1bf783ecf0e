/** The door to the HSM for callers' keys, by permit. `openHsm` gives the two others of a running service too: integrity.ts and person-secrets.ts. */
export type {
  CardKeyPlan,
  CardMaster,
  CardMasterMade,
  Ciphers,
  Encrypted,
  FilledKey,
  GeneratedKey,
  Hsm,
  KeyAlgorithm,
  MilenageAnswer,
  MilenageVerdict,
  Plain,
  Rewrapped,
  RootKeyCeremonies,
  StoredKey,
  TokenKeyAttributes,
  TokenKeys,
  TransportKeyMade,
} from './contract.ts'
export { backupOf, encodeBackup, type TokenBackup } from './backup-file.ts'
export type { Kcv, KcvMethod } from './kcv.ts'
export type { KeyBackup } from './key-backup.ts'
export { type HsmStats, openHsm, type OpenHsm, type OpenOptions } from './open.ts'
export { parsePkcs11Uri } from './pkcs11-uri.ts'
export { PROBE_NAMES, type ProbeName } from './probe-names.ts'
export { type GenerationMade } from './ceremony/rotate-root-key.ts'
export {
  firstOf,
  type GenerationState,
  generationOf,
  generationRow,
  generationsInUse,
  generationsOf,
  type RecordedGeneration,
  type SealedGeneration,
} from './generation-record.ts'
export {
  type Generation,
  generationId,
  type GenerationsInUse,
  parseGeneration,
  ROTATED_KEY_NAMES,
  type RotatedKey,
  type SecretIdentity,
} from './root-key-generations.ts'
export type { RecordedGenerations, RootKeysInUse } from './root-keys-in-use.ts'
export { ROOT_KEYS, type RootKeyId, type RootKeyIdentity, type TokenIdentity } from './root-keys.ts'
export { checkToken, type CheckOptions, ModuleFailed, NotChecked } from './token-check.ts'
export { isFit, type OperationReport, type ProbeReport, type TokenReport } from './token-report.ts'
