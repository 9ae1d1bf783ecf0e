import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import { equalBytes } from '../../core/bytes.ts'
import { parseCsr } from '../../kms/index.ts'
import { systemCaller } from '../../policies/caller.ts'
import { perform } from '../../policies/gate.ts'
import type { Config } from '../config.ts'
import { faultsOf } from '../crash-at.ts'
import { writeDurably } from '../../core/durable-file.ts'
import { type OpenService, openService } from '../service.ts'
import { CliError } from './cli-error.ts'

/**
 * Enrols the first two officers. Order: both registered and the bootstrap burnt, one transaction; then for each a certificate, issued and recorded, then its files.
 * A crash between leaves officers without certificates or files: the same command with the same requests goes on, and no other can.
 */
export async function initialise({
  config,
  officers,
  out,
}: {
  readonly config: Config
  readonly officers: readonly string[]
  readonly out: string
}): Promise<void> {
  const requests = await Promise.all(officers.map(readRequest))
  assertTwo(requests)
  const service = await openService(config, pino({ level: 'silent' }), faultsOf(config))
  try {
    const caller = systemCaller('init')
    const registered = await service.callers.bootstrap.find()
    if (registered === undefined) {
      await assertNeverBurnt(service)
      await perform(service.gate, service.callers.enrolFirstOfficers, { caller, body: { names: requests.map(({ name }) => name) } })
    }
    const ids = registered?.officers ?? (await service.callers.bootstrap.find())?.officers ?? []
    const enrolled = await Promise.all(ids.map((id) => service.callers.callers.find(id)))

    mkdirSync(out, { recursive: true, mode: 0o700 })
    for (const { name, csr } of requests) {
      const officer = enrolled.find((candidate) => candidate?.name === name)
      if (officer === undefined)
        throw new CliError(
          'The first two officers are enrolled already, and they are others. More people are enrolled by an officer (policies.caller.register).',
        )
      const standing = await service.kms.certificates.findClient(officer.id, csr)
      if (standing?.isOfRequest === false)
        throw new CliError(`${name} has a certificate of another request already. A new one is issued by an officer (kms.certificate.issue).`)
      const certificate = standing?.certificate ?? (await service.performSystem(caller, 'kms.certificate.issue', { callerId: officer.id, csr }))['certificate']
      writeDurably(join(out, `${name}.pem`), String(certificate))
      writeDurably(join(out, `${name}.id`), `${officer.id}\n`)
    }
    const root = await service.kms.certificates.chainPem('root')
    if (root === undefined) throw new CliError('The root has no certificate. Start the service once: gridseal serve')
    writeDurably(join(out, 'root.pem'), root)
    console.log(
      `Enrolled ${requests.map(({ name }) => name).join(' and ')}. In ${out}: their certificates, their ids, and root.pem, which everybody who calls is to trust.`,
    )
  } finally {
    await service.close()
  }
}

/** What the log says that it was done is not done again because a row is gone. */
async function assertNeverBurnt({ audit: { searcher, index }, callers }: OpenService): Promise<void> {
  await index.complete()
  const done = {
    and: [
      { field: 'operation', is: [callers.enrolFirstOfficers.name] },
      { field: 'kind', is: ['outcome'] },
      { field: 'code', is: ['ok'] },
    ],
  } as const
  const { entries } = await searcher.search(await searcher.prepare(done), { order: 'oldest', limit: 1 })
  if (entries.length > 0)
    throw new CliError(
      'The log says that the first two officers were enrolled, and the database does not: a row was deleted. Nobody is enrolled. Look for who changes the database, and restore it.',
    )
}

interface OfficerRequest {
  readonly name: string
  /** PEM. */
  readonly csr: string
  /** SPKI DER. */
  readonly spki: Uint8Array
}

/** Two people, each with a key of their own: who holds both keys approves what they asked for. */
function assertTwo([first, second, ...more]: readonly OfficerRequest[]): void {
  if (first === undefined || second === undefined || more.length > 0 || first.name === second.name)
    throw new CliError('Name exactly two officers: --officer alice=alice.csr.pem --officer bob=bob.csr.pem. (gridseal caller request makes the requests.)')
  if (equalBytes(first.spki, second.spki))
    throw new CliError(`The requests of ${first.name} and ${second.name} are of one key. Each officer makes their own, and keeps it: gridseal caller request.`)
}

async function readRequest(option: string): Promise<OfficerRequest> {
  const at = option.indexOf('=')
  if (at < 1) throw new CliError(`--officer is written name=csr.pem, not ${option}`)
  const [name, file] = [option.slice(0, at), option.slice(at + 1)]
  const csr = readCsr(file, name)
  const parsed = await parseCsr(csr)
  if (parsed.kind === 'fault') throw new CliError(`${file}: ${parsed.message} gridseal caller request --name ${name} --out FOLDER makes one.`)
  return { name, csr, spki: parsed.spki }
}

function readCsr(file: string, name: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new CliError(`The certificate request ${file} cannot be read. gridseal caller request --name ${name} --out FOLDER makes one.`)
  }
}
