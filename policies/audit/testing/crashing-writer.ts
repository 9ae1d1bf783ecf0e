import pg from 'pg'
import { newOperationId } from '../../../core/ids.ts'
import { PgAuditLog } from '../log.pg.ts'
import { draftOf } from './drafts.ts'
import { softKeys } from './soft-keys.ts'

/** A process to be killed: it writes as fast as it can, and says each id once it is acknowledged. Arguments: URL of the database, seed of the keys in hex. */
const keys = softKeys(Buffer.from(process.argv[3] ?? '', 'hex'))
const log = new PgAuditLog({
  connect: async () => {
    const client = new pg.Client({ connectionString: process.argv[2] })
    await client.connect()
    await client.query('SET ROLE gridseal_service')
    return client
  },
  macGroup: keys.macGroup,
  blindIndex: keys.blindIndex,
})

async function operate(): Promise<never> {
  for (;;) {
    const id = newOperationId()
    await log.transact(({ append }) => Promise.resolve(append(draftOf('intent', id))))
    process.stdout.write(`intent ${id}\n`)
    const single = newOperationId()
    await log.append(draftOf('outcome', single))
    process.stdout.write(`single ${single}\n`)
    await log.transact(({ append }) => Promise.resolve(append(draftOf('outcome', id))))
    process.stdout.write(`outcome ${id}\n`)
  }
}

void Promise.all(Array.from({ length: 16 }, operate))
