import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type KeyId, keyId, newUuid } from '../../core/ids.ts'
import { type CardMaster, type KeyAlgorithm, openHsm, type StoredKey } from '../index.ts'
import { entryUrl } from '../child.ts'
import type { Lanes } from '../lanes.ts'
import { openLanes } from '../open.ts'
import { TokenFolder } from '../token-folder.ts'
import { type FaultModule, faultModule } from './fault-module.ts'
import { type FillFixture, fillFixture, sealed } from './fill-fixture.ts'
import type { TestToken } from './test-token.ts'
import { tokenInProcess, wrapKnownKey } from './token-in-process.ts'

/** A key whose value is known: every answer of the token can be computed beside it. */
export interface KnownKey extends StoredKey {
  readonly value: Buffer
}

/** A token of SoftHSM2 behind a module that fails as it is told, with lanes, and keys of known value. */
export interface FaultToken extends TestToken {
  readonly lanes: Lanes
  readonly module: FaultModule
  readonly deadlineMs: number
  readonly hmacKeys: readonly KnownKey[]
  readonly macKeys: readonly KnownKey[]
  readonly gcmKeys: readonly KnownKey[]
  readonly cardKeys: readonly KnownKey[]
  readonly operatorKey: KnownKey
  readonly master: CardMaster
  readonly transportKeyId: KeyId
  /** Opens what was wrapped under the transport key. */
  unwrap: FillFixture['unwrap']
}

const EACH = 6

/** The token is made without the module in between; lanes see nothing but the module. Sets the environment of this process: one at a time. */
export async function faultToken({ lanes: count, deadlineMs }: { readonly lanes: number; readonly deadlineMs: number }): Promise<FaultToken> {
  const module = faultModule()
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-token-'))
  const { master, transportKeyId, unwrap } = await makeToken(folder)
  const inProcess = tokenInProcess(folder)
  Object.assign(process.env, module.environment)
  const { pinFile } = new TokenFolder(folder)
  const uri = `pkcs11:serial=${inProcess.token.serial}?module-path=${module.path}&pin-source=file:${pinFile}`
  const { open, lanes } = await openLanes(
    { dataFolder: folder, uri, lanes: count, deadlineMs, passEnvironment: Object.keys(module.environment) },
    entryUrl('lane-process'),
  )
  const token: TestToken = {
    hsm: open.hsm,
    integrity: open.integrity,
    personSecrets: open.personSecrets,
    identity: open.identity,
    rootKeys: open.rootKeys,
    folder,
    close: async () => {
      module.clear()
      await open.close()
      module.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  const known = async (name: string, algorithm: Exclude<KeyAlgorithm, 'ec-p256'>, lengthBytes: number): Promise<KnownKey> => {
    const [id, value] = [keyId(newUuid()), Buffer.alloc(lengthBytes, `${name} `)]
    return { id, value, sealed: await sealed(token, id, { algorithm, wrapped: wrapKnownKey(inProcess, algorithm, value) }) }
  }
  const several = (name: string, algorithm: Exclude<KeyAlgorithm, 'ec-p256'>, lengthBytes: number): Promise<KnownKey[]> =>
    Promise.all(Array.from({ length: EACH }, (_, at) => known(`${name} ${String(at)}`, algorithm, lengthBytes)))
  return {
    ...token,
    lanes,
    module,
    deadlineMs,
    hmacKeys: await several('hmac', 'hmac-sha256', 32),
    macKeys: await several('cmac', 'aes-cmac-128', 16),
    gcmKeys: await several('gcm', 'aes-gcm-256', 32),
    cardKeys: await several('ki', 'aes-128', 16),
    operatorKey: await known('op', 'aes-128', 16),
    master,
    transportKeyId,
    unwrap,
  }
}

/** Token, root keys, a card master and a transport key. */
async function makeToken(folder: string): Promise<FillFixture> {
  const open = await openHsm({ dataFolder: folder, lanes: 1 })
  try {
    return await fillFixture({ ...open, folder })
  } finally {
    await open.close()
  }
}
