import { z } from 'zod'
import { found } from '../../../core/found.ts'
import { keyId } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow, type Row, type RowDigest } from '../../../core/row.ts'
import { sealRow } from '../../../core/sealed-records.ts'
import type { Placed, SealedTable } from '../../../core/sealed-table.ts'
import type { Tx } from '../../../core/tx.ts'
import { generationId, generationOf, generationRow, type RecordedGeneration, type StoredKey } from '../../../pkcs11/index.ts'
import type { PlacedGroup } from '../../../policies/audit/index.ts'
import type { Permit } from '../../../policies/permit.ts'
import { type Operation, operation } from '../../../policies/operation.ts'
import { countRows, isGroups, pageFrom, type RowPage } from '../rotated-rows.ts'
import { afterPage, isAtStart, type Rotation, rotationRow } from '../rotation.ts'
import type { Deps } from './deps.ts'
import { NO_ROTATION, ROTATION_ID, rotationFacts } from './views.ts'

interface Target {
  readonly rotationId: string
  readonly rotation: Rotation | undefined
  readonly page: RowPage | undefined
  /** Processes that still make things with the old generation, where that matters: as the second or a later pass begins. */
  readonly behind: number
}

/** What a page came to, and what is to be written. */
interface Result {
  readonly found: number
  /** Names of rows that are of no generation: `table id`. */
  readonly refused: readonly string[]
  /** Answers how many were written, and the rows of which the log is told. */
  write(tx: Tx): Promise<{ readonly renewed: number; readonly rows: readonly RowDigest[] }>
  /** Known once they are written. */
  renewed: number
  /** Of the pass that begins, where this one ends. */
  readonly total: number
  readonly rotation: Rotation
}

/** Digests of rows in one entry: an entry has 65,535 bytes at most. */
const ROWS_OF_AN_ENTRY = 200
/** Rows that an entry names as changed by someone. */
const MOST_NAMED = 20
const OUTPUT = z.strictObject({ state: z.string(), pass: z.int(), renewed: z.int(), found: z.int() })

/**
 * Brings one page of rows under the new generation: each is opened or checked, and what is under the old one is written anew where nobody has changed it meanwhile. Rows
 * and cursor stand in one transaction: a crash leaves the page to be done again. A row of no generation is left as it is, counted and named.
 */
export const renewRows = (deps: Deps): Operation<{ rotationId: string }, Target, Result, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'kms.root-key.renew',
    summary: 'Brings one page of rows under the new generation of a root key.',
    effect: 'durable',
    input: z.strictObject({ rotationId: ROTATION_ID }),
    output: OUTPUT,
    locate: async ({ rotationId }) => {
      const rotation = await deps.rotations.find(rotationId)
      if (rotation?.state !== 'working') return { rotationId, rotation, page: undefined, behind: 0 }
      const behind = rotation.pass > 1 && isAtStart(rotation) ? await deps.countBehind() : 0
      return { rotationId, rotation, page: await pageFrom(deps, rotation.key, rotation.cursor), behind }
    },
    uses: ({ rotation, page }) =>
      rotation?.key !== 'storage-kek' || page === undefined
        ? []
        : [
            { action: 'unwrap', keyId: generationId({ key: rotation.key, number: rotation.from }) },
            { action: 'wrap', keyId: generationId({ key: rotation.key, number: rotation.to }) },
          ],
    facts: ({ rotationId, rotation, page }) => ({
      public: {
        ...rotationFacts(rotationId, rotation),
        ...(rotation === undefined ? {} : { pass: rotation.pass }),
        ...(page === undefined ? {} : { table: page.table.name, count: page.rows.length }),
      },
    }),
    admit: ({ rotation, behind }) => {
      if (rotation === undefined) return new Problem('not-found', NO_ROTATION)
      if (rotation.state !== 'working') return new Problem('conflict', `The rotation is ${rotation.state}: no rows are to be renewed.`)
      if (behind > 0) return new Problem('conflict', `${behind} processes of the service still make things with the old generation.`)
      return undefined
    },
    execute: async (permit, { rotation: standing, page }) => {
      const rotation = found(standing)
      const work = page === undefined ? NOTHING : await renewPage(deps, permit, rotation, page)
      return { ...work, renewed: 0, rotation, total: page?.next === undefined ? await countRows(deps, rotation.key) : rotation.rows.total }
    },
    record: async (tx, { page }, result) => {
      const { renewed, rows } = await result.write(tx)
      result.renewed = renewed
      const counts = { seen: page?.rows.length ?? 0, found: result.found, refused: result.refused.length, renewed }
      const after = afterPage(
        result.rotation,
        { ...counts, ...(page?.next === undefined ? {} : { next: page.next }) },
        { now: deps.now(), total: result.total },
      )
      await deps.rotations.update(tx, after)
      const closed = after.state === 'closing' ? [await close(deps, tx, after)] : []
      const named = result.refused.slice(0, MOST_NAMED)
      return {
        facts: {
          public: { state: after.state, pass: after.pass, found: result.found, renewed, ...(named.length === 0 ? {} : { refused: named }) },
          rows: [digestRow(rotationRow(after)), ...closed],
        },
        items: Array.from({ length: Math.ceil(rows.length / ROWS_OF_AN_ENTRY) }, (_, at) => ({
          public: { rotation: after.id },
          rows: rows.slice(at * ROWS_OF_AN_ENTRY, (at + 1) * ROWS_OF_AN_ENTRY),
        })),
      }
    },
    respond: (_target, { rotation, renewed, found: count }) => ({ state: rotation.state, pass: rotation.pass, renewed, found: count }),
  })

type Work = Pick<Result, 'found' | 'refused' | 'write'>
const NOTHING: Work = { found: 0, refused: [], write: () => Promise.resolve({ renewed: 0, rows: [] }) }

function renewPage(deps: Deps, permit: Permit, rotation: Rotation, page: RowPage): Promise<Work> {
  if (isGroups(page)) return resealGroups(deps, page.rows)
  return rotation.key === 'storage-kek' ? rewrapRows(deps, permit, rotation, page.table, page.rows) : resealRows(deps, page.table, page.rows)
}

async function rewrapRows({ hsm, integrity }: Deps, permit: Permit, { key, from, to }: Rotation, table: SealedTable, rows: readonly Placed[]): Promise<Work> {
  const holding = rows.filter(({ row }) => row.columns['wrapped'] instanceof Uint8Array)
  const keys = holding.map((sealed): StoredKey => ({ id: keyId(sealed.row.id), sealed }))
  const results = await hsm.rewrap(permit, { from: generationId({ key, number: from }), to: generationId({ key, number: to }), keys })
  const fresh = holding.flatMap((placed, at) => {
    const result = results[at]
    return result?.how === 'rewrapped' ? [{ placed, wrapped: result.wrapped, row: rewrapped(placed.row, result.wrapped) }] : []
  })
  const macs = await integrity.macRows(fresh.map(({ row }) => row))
  return {
    found: fresh.length,
    refused: holding.filter((_, at) => results[at]?.how === 'refused').map(nameOf),
    write: async (tx) => {
      const written = await table.rewrap(
        tx,
        fresh.map(({ placed, wrapped }, at) => ({ placed, wrapped, mac: found(macs[at]) })),
      )
      return { renewed: written.size, rows: fresh.filter(({ placed }) => written.has(placed.key)).map(({ row }) => digestRow(row)) }
    },
  }
}

const rewrapped = (row: Row, wrapped: Uint8Array): Row => ({ ...row, version: row.version + 1, columns: { ...row.columns, wrapped } })

/** The MAC is no part of a row's digest: version and digest stay, and the log is told of no row. */
async function resealRows({ integrity }: Deps, table: SealedTable, rows: readonly Placed[]): Promise<Work> {
  const sealed = await integrity.reviewRows(rows)
  const old = rows.filter((_, at) => sealed[at] === 'older')
  const macs = await integrity.macRows(old.map(({ row }) => row))
  return {
    found: old.length,
    refused: rows.filter((_, at) => sealed[at] === 'nobody').map(nameOf),
    write: async (tx) => ({
      renewed: await table.reseal(
        tx,
        old.map((placed, at) => ({ placed, mac: found(macs[at]) })),
      ),
      rows: [],
    }),
  }
}

async function resealGroups({ integrity, groups }: Deps, rows: readonly PlacedGroup[]): Promise<Work> {
  const sealed = await integrity.reviewGroups(rows)
  const old = rows.filter((_, at) => sealed[at] === 'older')
  const macs = await integrity.macGroups(old.map(({ message }) => message))
  return {
    found: old.length,
    refused: rows.filter((_, at) => sealed[at] === 'nobody').map(({ key }) => `audit_groups ${key}`),
    write: async (tx) => ({
      renewed: await groups.reseal(
        tx,
        old.map((placed, at) => ({ placed, mac: found(macs[at]) })),
      ),
      rows: [],
    }),
  }
}

const nameOf = ({ row }: Placed): string => `${row.table} ${row.id}`

/** With the last page: nobody uses the old generation any more. */
async function close({ generations, sealer }: Deps, tx: Tx, rotation: Rotation): Promise<RowDigest> {
  const old = await oldGeneration({ generations }, rotation)
  const record: RecordedGeneration = { ...old, state: 'closing', version: old.version + 1 }
  await generations.update(tx, { record, mac: await sealRow(sealer, generationRow(record)) })
  return digestRow(generationRow(record))
}

/** Throws `integrity-failed` where it is not recorded. */
export async function oldGeneration({ generations }: Pick<Deps, 'generations'>, rotation: Rotation): Promise<RecordedGeneration> {
  const records = (await generations.load()).map(({ record }) => record)
  const old = records.find((record) => {
    const generation = generationOf(record)
    return generation.key === rotation.key && generation.number === rotation.from
  })
  if (old === undefined)
    throw new Problem('integrity-failed', `The old generation of ${rotation.key} is not recorded: a row of root_key_generations was deleted.`)
  return old
}
