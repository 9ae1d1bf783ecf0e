import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { enrol, type Participant } from '../clients/site.ts'
import { bareLoop } from '../pkcs11/bare-loop.ts'
import { type Report, result } from './report.ts'
import { type BenchSite, withSite } from './site.ts'

const SECONDS = 6
const BATCH = 256
const BATCH_CALLERS = 8
const CONNECTIONS = 32

export const benchSign = (say: (line: string) => void): Promise<Report> =>
  withSite({}, async (site) => {
    const [alice, bob] = site.officers
    if (alice === undefined || bob === undefined) throw new Error('two officers are needed')
    const module = await enrol(alice, { url: site.service.url, trust: site.trust }, { kind: 'module', name: 'bench', approver: bob })
    const { keyId } = await module.client.post<{ keyId: string }>('/v1/kms/keys', { label: 'bench', algorithm: 'ec-p256' })

    say('bare: C_Sign in a loop, one thread, on the same token ...')
    const bare = await bareLoop({ dataFolder: site.data, loop: 'sign', seconds: SECONDS })
    say(`batch: ${String(BATCH_CALLERS)} callers, ${String(BATCH)} messages a request ...`)
    const batch = await batches(module, keyId)
    say(`single: ${String(CONNECTIONS)} connections over mutual TLS, the load generator beside it ...`)
    const single = await singles(site, module, keyId)

    return {
      bench: 'sign',
      results: [
        result({ metric: 'bare', value: bare, unit: 'signatures/s' }),
        result({ metric: 'batch', value: batch, unit: 'signatures/s', limit: bare, goal: 0.7 }),
        result({ metric: 'single', value: single.rate, unit: 'signatures/s', limit: bare, goal: 4000 }),
      ],
      notes: [
        `single: latency p50 ${String(single.p50)} ms, p99 ${String(single.p99)} ms; every signature has its decision, and its entry in the durable log before the answer.`,
      ],
    }
  })

/** Signatures a second over the API in batches. */
async function batches(module: Participant, keyId: string): Promise<number> {
  const body = { items: Array.from({ length: BATCH }, () => ({ message: randomBytes(32).toString('base64') })) }
  const path = `/v1/kms/keys/${keyId}/sign`
  await module.client.post(path, body)
  const start = performance.now()
  let signatures = 0
  const caller = async (): Promise<void> => {
    while (performance.now() - start < SECONDS * 1000) {
      await module.client.post(path, body)
      signatures += BATCH
    }
  }
  await Promise.all(Array.from({ length: BATCH_CALLERS }, caller))
  return signatures / ((performance.now() - start) / 1000)
}

/** Single signatures a second by autocannon as its own process. */
async function singles({ folder, service, trust }: BenchSite, module: Participant, keyId: string): Promise<{ rate: number; p50: number; p99: number }> {
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 })
    return join(folder, name)
  }
  const body = JSON.stringify({ items: [{ message: randomBytes(32).toString('base64') }] })
  const autocannon = createRequire(import.meta.url).resolve('autocannon/autocannon.js')
  const options = [
    '-j',
    '-n',
    '-c',
    String(CONNECTIONS),
    '-d',
    String(SECONDS),
    '-W',
    '[',
    '-c',
    String(CONNECTIONS),
    '-d',
    '2',
    ']',
    '-m',
    'POST',
    '-H',
    'content-type=application/json',
    '-b',
    body,
  ]
  const identity = ['--cert', file('module.pem', module.certificate), '--key', file('module.key.pem', module.key), '--ca', file('trust.pem', trust)]
  const { stdout } = await promisify(execFile)(process.execPath, [autocannon, ...options, ...identity, `${service.url}/v1/kms/keys/${keyId}/sign`], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: join(folder, 'trust.pem') },
  })
  const load = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as {
    '2xx': number
    non2xx: number
    errors: number
    duration: number
    latency: { p50: number; p99: number }
  }
  if (load.non2xx > 0 || load.errors > 0) throw new Error(`the load had failures: ${String(load.non2xx)} refused, ${String(load.errors)} errors`)
  return { rate: load['2xx'] / load.duration, p50: load.latency.p50, p99: load.latency.p99 }
}
