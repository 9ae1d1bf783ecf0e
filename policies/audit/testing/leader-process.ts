import pg from 'pg'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkpointFile } from '../checkpoint-file.ts'
import { logKey } from '../checkpoint.ts'
import { LogFault } from '../log-fault.ts'
import { PgAuditLog } from '../log.pg.ts'
import { PgSequencerStore } from '../sequencer.pg.ts'
import { Sequencer } from '../sequencer.ts'
import { draftOf } from './drafts.ts'
import { softKeys } from './soft-keys.ts'

/**
 * A process that writes entries and would lead the log; to be killed, frozen and cut off. It says, a line each: `leads`, `stands by`, `signs SIZE ROOT`,
 * `acknowledged ID`, `fault CODE`. Arguments: connection string, path of the checkpoint file, seed of the keys (hexadecimal), milliseconds between rounds.
 */
const [, , url = '', file = '', seed = '', intervalMs = '1000'] = process.argv
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
const ignore = (): void => undefined

/** As the service's own: statements are sent without waiting for the one before. */
const settings: pg.ClientConfig & { readonly pipeline: true } = { connectionString: url, connectionTimeoutMillis: 3000, pipeline: true }
const connect = async (): Promise<pg.Client> => {
  const client = new pg.Client(settings)
  client.on('error', ignore)
  await client.connect()
  await client.query('SET ROLE gridseal_service')
  return client
}
const pool = new pg.Pool({ connectionString: url, max: 2, query_timeout: 5000 })
pool.on('error', ignore)
pool.on('connect', (client) => client.on('error', ignore))

const keys = softKeys(Buffer.from(seed, 'hex'))
const sequencer = new Sequencer({
  store: new PgSequencerStore({ connect, sql: { query: async (text, values) => (await pool.query(text, [...(values ?? [])])).rows as never } }),
  anchors: [checkpointFile(file)],
  key: logKey('grid.example/audit', 'ed25519', keys.checkpointKey.publicKey),
  checkGroups: keys.checkGroups,
  signCheckpoint: (text) => {
    const [, size, root] = Buffer.from(text).toString('utf8').split('\n')
    say(`signs ${size ?? ''} ${root ?? ''}`)
    return keys.signCheckpoint(text)
  },
  intervalMs: Number(intervalMs),
  onFault: ({ code }) => say(`fault ${code}`),
})
const log = new PgAuditLog({ connect, macGroup: keys.macGroup, blindIndex: keys.blindIndex, writers: 1, appenders: 1 })

async function write(): Promise<never> {
  for (;;) {
    const draft = draftOf('event')
    await log.append(draft).then(() => say(`acknowledged ${draft.id}`), ignore)
    await sleep(5)
  }
}

async function start(): Promise<void> {
  for (;;) {
    try {
      return await sequencer.start()
    } catch (error) {
      if (error instanceof LogFault) return
      await sleep(200)
    }
  }
}

let leads: boolean | undefined
setInterval(() => {
  if (sequencer.status.leading === leads) return
  leads = sequencer.status.leading
  say(leads ? 'leads' : 'stands by')
}, 10)
void write()
void start()
