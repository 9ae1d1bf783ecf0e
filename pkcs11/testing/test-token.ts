import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OpenHsm, openHsm, type OpenOptions, type TokenIdentity } from '../index.ts'
import type { Integrity } from '../integrity.ts'

export interface TestToken {
  readonly hsm: OpenHsm['hsm']
  readonly integrity: Integrity
  readonly personSecrets: OpenHsm['personSecrets']
  readonly identity: TokenIdentity
  readonly rootKeys: OpenHsm['rootKeys']
  /** The data folder. */
  readonly folder: string
  close(): Promise<void>
}

/** A real SoftHSM2 token in a temporary folder, with lanes. `close` ends the lanes and removes the folder. */
export async function testToken({ lanes = 1, ...options }: Partial<Omit<OpenOptions, 'dataFolder'>> = {}): Promise<TestToken> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-token-'))
  const { hsm, integrity, personSecrets, identity, rootKeys, close } = await openHsm({ ...options, dataFolder: folder, lanes })
  return {
    hsm,
    integrity,
    personSecrets,
    identity,
    rootKeys,
    folder,
    close: async () => {
      await close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
