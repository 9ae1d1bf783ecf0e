import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import { behindEachRun } from '../../card-personalization/index.ts'
import { iccidFault, type IccidRange } from '../../core/iccid.ts'
import { newOperationId } from '../../core/ids.ts'
import type { RowSealer } from '../../core/row.ts'
import type { Sql } from '../../core/tx.ts'
import { highestCrlNumber } from '../../kms/index.ts'
import { checkpointKeyOf, TokenCeremonies } from '../../pkcs11/ceremonies.ts'
import { PgRootKeyStore } from '../../pkcs11/root-key-store.pg.ts'
import { CHECKPOINT_FILE, insertRecovery, type KeptNote, loadRecoveries, type LogRecovery, type Loss, newOrigin } from '../../policies/audit/index.ts'
import { printableLines } from '../../clients/printable.ts'
import type { Config } from '../config.ts'
import { inspectService } from '../service.ts'
import { loadAdoptions, originAfter, verifierKey } from '../token-succession.ts'
import { tokenOptions } from '../token-options.ts'
import { assertBothPins, currentRowMac, sealerOf, sound } from './ceremony-token.ts'
import { CliError } from './cli-error.ts'
import { withStoppedService } from './stopped-service.ts'

export interface RecoverOptions {
  readonly acceptLoss?: string
  readonly reason?: string
  /** Files of checkpoints that others keep. */
  readonly checkpoint: readonly string[]
  /** ICCIDs that were ordered since the database was copied: `FIRST` or `FIRST-LAST`. */
  readonly issued: readonly string[]
  readonly iccidMargin?: string
  readonly nothingOrdered?: boolean
}

/** CRLs go on so far above the highest number that the database knows: more than lost entries can have issued. */
const CRL_MARGIN = 1_000_000
/** In one sealed row. */
const MOST_RANGES = 20_000

/**
 * Lets the log go on without entries that are lost for good. What is lost is told first; `acceptLoss` does it. Order: the loss is found with the token and the
 * witnesses, then all that changes is one transaction. A crash before it leaves nothing, after it the recovery: the next start goes on under the new origin and
 * logs it, and the same command finds nothing to do.
 */
export async function recoverLogCommand(config: Config, options: RecoverOptions): Promise<void> {
  const accepted = options.acceptLoss === undefined ? undefined : accept(options)
  // Tables are as this version wants them, nothing runs, and what takes long is asked last.
  await withStoppedService(config, async (sql) => {
    if (accepted !== undefined) await assertOrdersSaid(sql, options)
  })
  const loss = await findLoss(config, options.checkpoint)
  console.log(describeLoss(loss))
  if (loss.lostSize <= loss.logSize) {
    setAside(config, loss)
    throw new CliError('Nothing that was signed under this origin is missing: there is nothing to recover from.')
  }
  const lost = loss.lostSize - loss.logSize
  if (accepted === undefined) return console.log(HOW_TO(lost))
  if (options.acceptLoss !== String(lost)) throw new CliError(`--accept-loss says ${options.acceptLoss}, and ${lost} entries are lost. Nothing was changed.`)

  const ceremonies = new TokenCeremonies(tokenOptions(config))
  const { identity } = sound(await ceremonies.show())
  await assertBothPins(ceremonies)
  await withStoppedService(config, async (sql) => {
    const store = new PgRootKeyStore(sql)
    const sealer = sealerOf(ceremonies, await currentRowMac(store))
    const history = { adoptions: await loadAdoptions(store, sealer), recoveries: await loadRecoveries(sql, sealer) }
    const key = checkpointKeyOf(identity.keys)
    const oldOrigin = originAfter(config.origin, history)
    const recoveredAt = new Date()
    const origin = newOrigin(config.origin, recoveredAt)
    const recovery: LogRecovery = {
      number: history.recoveries.length + 1,
      operationId: newOperationId(),
      adoptions: history.adoptions.length,
      ...{ oldKey: verifierKey(oldOrigin, key), newKey: verifierKey(origin, key) },
      ...{ logSize: loss.logSize, lostSize: loss.lostSize, ...(loss.lostRoot === undefined ? {} : { lostRoot: loss.lostRoot }) },
      floors: { crlNumber: (await highestCrlNumber(sql)) + CRL_MARGIN, iccids: await issuedRanges(sql, accepted.named, options) },
      reason: accepted.reason,
      recoveredAt: recoveredAt.toISOString(),
    }
    await commit(sql, sealer, recovery)
    setAside(config, loss)
    console.log(describeRecovery(config, recovery))
  })
}

async function findLoss(
  config: Config,
  files: readonly string[],
): Promise<Awaited<ReturnType<Awaited<ReturnType<typeof inspectService>>['audit']['findLoss']>>> {
  const others = files.map((where): KeptNote => ({ where, note: readNote(where) }))
  const service = await inspectService(config, pino({ level: 'silent' }))
  try {
    return await service.audit.findLoss(others)
  } finally {
    await service.close()
  }
}

function readNote(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new CliError(`${file} cannot be read.`)
  }
}

/** The checkpoint file, where it is of a shard whose recovery is itself lost: no start could go on beside it. */
function setAside({ data }: Config, { otherShards }: Loss): void {
  const file = join(data, 'checkpoint')
  const other = otherShards.find(({ where }) => where === CHECKPOINT_FILE)
  if (other === undefined) return
  const aside = `${file}.${other.origin.replaceAll(/[^\w.-]/g, '_')}`
  renameSync(file, aside)
  console.log(`${file} is of ${other.origin}, whose recovery is lost too: it is ${aside} now. On other nodes put it away likewise.`)
}

/** Of one transaction, as the owner of the tables. */
async function commit(sql: Sql, sealer: RowSealer, recovery: LogRecovery): Promise<void> {
  await sql.query('BEGIN')
  try {
    await insertRecovery(sql, sealer, recovery)
    await sql.query('COMMIT')
  } catch (error) {
    await sql.query('ROLLBACK')
    throw error
  }
}

/** What a recovery is told, checked as far as it goes without a database. Throws a {@link CliError}. */
function accept(options: RecoverOptions): { readonly reason: string; readonly named: readonly IccidRange[] } {
  const { reason, iccidMargin, nothingOrdered } = options
  if (reason === undefined || reason.trim() === '') throw new CliError('--reason: say why they cannot be had back. It is kept.')
  if (iccidMargin !== undefined && !/^[1-9]\d{0,8}$/.test(iccidMargin)) throw new CliError('--iccid-margin is a number of ICCIDs, 1 to 999999999.')
  if (nothingOrdered === true && saysOrders(options)) throw new CliError('--nothing-ordered stands against --issued and --iccid-margin.')
  return { reason, named: options.issued.map(rangeOf) }
}

const saysOrders = ({ issued, iccidMargin }: RecoverOptions): boolean => issued.length > 0 || iccidMargin !== undefined

function rangeOf(text: string): IccidRange {
  const [first = '', last = first, ...more] = text.split('-')
  const fault = iccidFault(first) ?? iccidFault(last) ?? (more.length > 0 ? 'a range is FIRST-LAST' : undefined)
  if (fault !== undefined) throw new CliError(`--issued ${text}: ${fault}.`)
  const range: IccidRange = [first.slice(0, -1), last.slice(0, -1)]
  if (first.length !== last.length || range[0] > range[1])
    throw new CliError(`--issued ${text}: a range goes from a lower ICCID to a higher one of the same length.`)
  return range
}

/** Where cards were ever ordered, somebody has to say what was ordered since: the database cannot know. */
async function assertOrdersSaid(sql: Sql, options: RecoverOptions): Promise<void> {
  if (saysOrders(options) || options.nothingOrdered === true) return
  const [any] = await sql.query('SELECT FROM iccids LIMIT 1')
  if (any === undefined) return
  throw new CliError(
    [
      'Cards were ordered from this service, and some of those orders may be lost: an ICCID is issued once, ever, and would get the same derived keys a second time.',
      'Ask the vendors, and say one of:',
      '  --issued FIRST-LAST     ICCIDs of orders that are lost (many times)',
      '  --iccid-margin N        so many behind each run of ICCIDs that were ordered count as issued',
      '  --nothing-ordered       no order was taken since',
    ].join('\n'),
  )
}

async function issuedRanges(sql: Sql, named: readonly IccidRange[], { iccidMargin }: RecoverOptions): Promise<IccidRange[]> {
  const ranges = [...named, ...(iccidMargin === undefined ? [] : await behindEachRun(sql, Number(iccidMargin)))]
  if (ranges.length > MOST_RANGES)
    throw new CliError(`The ICCIDs that were ordered are ${ranges.length} runs, more than ${MOST_RANGES}: name what was ordered since with --issued instead.`)
  return ranges
}

const describeLoss = ({
  size,
  logSize,
  lostSize,
  told,
  otherShards,
  unasked,
}: Loss & { readonly unasked: readonly { readonly name: string; readonly problem: string }[] }): string =>
  printableLines([
    `The database has ${size} entries.`,
    ...told.map(({ where, size: by }) => `  ${String(by).padStart(12)}  signed, as ${where} says`),
    ...otherShards.map(({ where, origin }) => `             ?  ${where} has a checkpoint of ${origin}, which this log became by a recovery that is lost too`),
    ...unasked.map(({ name, problem }) => `             ?  the witness ${name} does not answer: ${problem}`),
    ...(lostSize > logSize ? [`Entries ${logSize} to ${lostSize} are lost: ${lostSize - logSize}.`] : []),
  ])

const HOW_TO = (lost: number): string =>
  [
    '',
    'Nothing was changed. A newer copy of the database is better than any recovery: look for one first (a standby, an archive of WAL, a later backup).',
    'Where there is none: find out what was done since, from whoever keeps the log (gridseal audit mirror, receivers of syslog, exports), and ask the vendors for',
    'the orders they sent. Certificates that were revoked, keys that were deactivated, people who were removed since then are as they were before: do it again.',
    'Other nodes and auditors may hold later checkpoints: --checkpoint FILE for each. Then, with both holders of the token’s PINs:',
    `  gridseal audit recover --accept-loss ${lost} --reason ...`,
  ].join('\n')

function describeRecovery(config: Config, { oldKey, newKey, floors }: LogRecovery): string {
  return [
    `The log goes on under another origin. Its key, which auditors are told by a way of its own, beside the old one:\n${newKey}`,
    `CRLs go on above number ${floors.crlNumber}, sequence numbers of cards above what they may have been; ${floors.iccids.length} ranges of ICCIDs count as issued.`,
    ...(config.witnessPolicy === undefined
      ? []
      : [
          `Witnesses know the old log only: each takes the new one (gridseal witness add-log), and ${config.witnessPolicy} lists it in place of\n  log ${oldKey}`,
        ]),
    'Then start the service: gridseal serve. Its first entries name what was lost. Do again what was lost before anybody is let in: docs/log-recovery.md.',
  ].join('\n')
}
