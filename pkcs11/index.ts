/** The door to the HSM for callers' keys, by permit. The other is integrity.ts. */
export type {
  CardKeyPlan,
  CardMaster,
  FilledKey,
  GeneratedKey,
  Hsm,
  KeyAlgorithm,
  MilenageAnswer,
  MilenageVerdict,
  StoredKey,
  TransportKeyMade,
} from './contract.ts'
export type { Kcv, KcvMethod } from './kcv.ts'
export { type HsmStats, openHsm, type OpenHsm, type OpenOptions } from './open.ts'
export { PROBE_NAMES, type ProbeName } from './probe-names.ts'
export { ROOT_KEYS, type RootKeyId, type RootKeyIdentity, type TokenIdentity } from './root-keys.ts'
