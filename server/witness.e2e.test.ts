import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addLog, initWitness, WitnessFolder } from '../clients/witness/witness-folder.ts'
import { witnessServer } from '../clients/witness/witness-server.ts'
import { openCosignatures, parseWitnessKey, withSignatures } from '../policies/audit/cosignature.ts'
import { TestTree } from '../policies/audit/testing/test-tree.ts'
import { testLog } from '../policies/audit/testing/test-witness.ts'
import { SIZE_TYPE } from '../policies/audit/witness-request.ts'
import { eventually } from './testing/processes.ts'
import { runWitness, startWitness, type WitnessProcess } from './testing/witness-process.ts'

let parent: string
let folder: string
let tree: TestTree
const running: WitnessProcess[] = []

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'gridseal-witness-'))
  folder = join(parent, 'w1')
  tree = new TestTree()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.kill()))
  rmSync(parent, { recursive: true })
})

async function start(): Promise<WitnessProcess> {
  const started = await startWitness(folder)
  running.push(started)
  return started
}

const ask = async ({ url }: { readonly url: string }, body: string): Promise<{ status: number; type: string; body: string }> => {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body })
  return { status: response.status, type: response.headers.get('content-type') ?? '', body: await response.text() }
}

describe('gridseal witness', () => {
  it('keeps its key for itself, watches what it is told while it serves, and cosigns; one process a folder', async () => {
    const vkey = runWitness('init', folder, '--name', 'witness.example/w1')
    expect(statSync(join(folder, 'key')).mode & 0o777).toBe(0o600)
    const witness = await start()
    expect((await ask(witness, tree.request(0, 4))).status).toBe(404)
    runWitness('add-log', folder, tree.key.vkey)
    const answer = await eventually('the witness knows the log', async () => {
      const given = await ask(witness, tree.request(0, 4))
      return given.status === 404 ? undefined : given
    })
    expect(answer.status).toBe(200)
    expect(openCosignatures(withSignatures(tree.note(4), [answer.body.trimEnd()]), [parseWitnessKey(vkey)])[0]?.timestamp).toBeGreaterThan(1_700_000_000)
    await expect(startWitness(folder)).rejects.toThrow('another process serves')
    expect(await ask(witness, tree.request(0, 5))).toEqual({ status: 409, type: SIZE_TYPE, body: '4\n' })
    expect(await witness.stop()).toBe(0)
  })

  it('remembers what it cosigned through kill -9 at any moment', async () => {
    initWitness(folder, 'witness.example/w1')
    addLog(folder, tree.key.vkey)
    let cosigned = 0
    for (let round = 0; round < 3; round += 1) {
      const witness = await start()
      let size = cosigned
      const busy = (async () => {
        for (;;) {
          const answer = await ask(witness, tree.request(size, size + 1)).catch(() => undefined)
          if (answer === undefined) return
          if (answer.status === 200) cosigned = size += 1
          else size = Number(answer.body)
        }
      })()
      await new Promise((resolve) => setTimeout(resolve, 150 + 70 * round))
      await witness.kill()
      await busy
      // What was acknowledged is remembered; what was recorded and not answered may be one more.
      const { size: kept } = new WitnessFolder(folder).headOf(tree.key.name)
      expect([cosigned, cosigned + 1]).toContain(kept)
      expect(readdirSync(join(folder, 'state')).filter((name) => !name.endsWith('.new'))).toHaveLength(1)
    }
    expect(cosigned).toBeGreaterThan(10)
  })

  it('does not go on from a lost, broken or foreign state', () => {
    expect(() => new WitnessFolder(folder)).toThrow('witness init')
    initWitness(folder, 'witness.example/w1')
    expect(() => initWitness(folder, 'x')).toThrow('a witness already')
    expect(() => addLog(folder, 'nonsense')).toThrow('name+id+base64')
    addLog(folder, tree.key.vkey)
    expect(() => addLog(folder, tree.key.vkey)).toThrow('watched already')
    const [name = ''] = readdirSync(join(folder, 'state'))
    const path = join(folder, 'state', name)
    const whole = readFileSync(path, 'utf8')
    for (const broken of [whole.slice(0, 40), whole.replace('grid.example/audit', 'other.example'), whole.replace('"size": 0', '"size": -1')]) {
      writeFileSync(path, broken)
      expect(() => new WitnessFolder(folder)).toThrow('broken')
    }
    rmSync(path)
    expect(() => new WitnessFolder(folder)).toThrow('is gone')
    expect(() => addLog(folder, testLog(tree.key.name).key.vkey)).toThrow('is gone')
    writeFileSync(path, whole)
    const key = join(folder, 'key')
    writeFileSync(key, readFileSync(key, 'utf8').replace('w1+', 'w2+'))
    expect(() => new WitnessFolder(folder)).toThrow('was changed')
  })

  it('bounds what a stranger may send, in length, time and number; what fails inside is told to its operator only', async () => {
    initWitness(folder, 'witness.example/w1')
    addLog(folder, tree.key.vkey)
    const told: string[] = []
    const server = witnessServer({ folder: new WitnessFolder(folder), onError: (error) => told.push(String(error)), requestTimeoutMs: 500 })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const witness = { url: `http://127.0.0.1:${String(port)}` }
    const post = async (body: string): Promise<number> => (await ask(witness, body)).status
    expect(await post('x'.repeat(65_536))).toBe(400)
    expect((await fetch(`${witness.url}/add-checkpoint`)).status).toBe(405)
    expect((await fetch(`${witness.url}/`)).status).toBe(404)
    expect(await post('x'.repeat(65_537))).toBe(413)
    // One who sends nothing is cut off.
    const socket = connect(port, '127.0.0.1').resume()
    socket.write('POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n')
    await once(socket, 'close')
    rmSync(join(folder, 'state'), { recursive: true })
    writeFileSync(join(folder, 'state'), '')
    const failed = await ask(witness, tree.request(0, 3))
    expect([failed.status, failed.body, told.length]).toEqual([500, 'the witness failed\n', 1])
    const statuses = new Set<number>()
    await Promise.all(
      Array.from({ length: 32 }, async () => {
        for (let at = 0; at < 12; at += 1) statuses.add(await post(''))
      }),
    )
    expect(statuses).toEqual(new Set([400, 429]))
    server.closeAllConnections()
    server.close()
  })
})
