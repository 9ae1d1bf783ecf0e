import { benchAttest } from './attest.ts'
import { benchAudit } from './audit.ts'
import { benchAuditKill } from './audit-kill.ts'
import { benchAuditVerification } from './audit-verification.ts'
import { benchCa } from './ca.ts'
import { benchFill } from './fill.ts'
import { benchIntegrity } from './integrity.ts'
import { benchPolicy } from './policy.ts'
import { type Known, type Options, parseOptions } from './options.ts'
import { type Report, table } from './report.ts'
import { benchPrune } from './prune.pg.ts'
import { benchSign } from './sign.ts'
import { benchSoak } from './soak.ts'
import { benchTamper } from './tamper.ts'
import { benchToken } from './token.ts'

interface Bench {
  readonly about: string
  /** Options of its own, besides --json. */
  readonly options?: Known
  readonly run: (say: (line: string) => void, options: Options) => Promise<Report>
}

/** What `npm run bench -- NAME` runs. Each measures its limit in the same run. */
const BENCHES: Readonly<Record<string, Bench>> = {
  sign: { about: 'P-256 signatures: a bare token loop, batches over the API, single requests over mutual TLS', run: benchSign },
  fill: { about: 'cards filled: from approval to a sealed delivery, beside a bare loop of every C_ call', run: benchFill },
  attest: { about: 'cards that prove themselves: CMAC, Milenage, signature, evidence, each with its challenge and signed result', run: benchAttest },
  token: { about: 'the verbs of lanes, one and two of them, beside bare loops of the same C_ calls; how busy they keep the service', run: benchToken },
  'token-soak': { about: 'mixed operations on a token that fails in every way by turns, each answer verified; memory, handles, recovery', run: benchSoak },
  'audit-kill': {
    about: '1,000 times kill -9 of the service and 100 times of PostgreSQL under 64 callers: what was acknowledged is in the log; --kills N: another number',
    options: { kills: 'count' },
    run: benchAuditKill,
  },
  audit: {
    about:
      'the audit log: durable entries of many callers; then a log of N entries (--size N), how fast it is searched, proven and verified, and how many bytes it takes',
    options: { size: 'count' },
    run: benchAudit,
  },
  'audit-verify': {
    about: 'offline verification of a whole log by all cores, from a mirror and from an export; --size N: a log of so many entries',
    options: { size: 'count' },
    run: benchAuditVerification,
  },
  integrity: {
    about: 'the database compared with the log: 100,000 entries and rows; --size N: another number',
    options: { size: 'count' },
    run: benchIntegrity,
  },
  prune: {
    about: 'nine tenths of the log leave the database, proven by an archive, while callers write; --size N: a log of so many entries',
    options: { size: 'count' },
    run: benchPrune,
  },
  tamper: {
    about: '1,000 random tamperings by the owner of the database, each found by what docs/integrity.md says; --count N: another number',
    options: { count: 'count' },
    run: benchTamper,
  },
  ca: { about: 'certificates of cards in bulk, of callers one by one, and a CRL of 100,000 entries', run: benchCa },
  policy: {
    about:
      'decisions of the firewall at 10 to 10,000 rules beside Cedar, compiling, explaining, analysing; --exhaustive: a million decisions against the reference',
    options: { exhaustive: 'flag' },
    run: benchPolicy,
  },
}

const [name, ...words] = process.argv.slice(2)
const bench = name === undefined ? undefined : BENCHES[name]
const options = parseOptions(words, { ...bench?.options, json: 'flag' })

if (bench === undefined || typeof options === 'string') {
  const width = Math.max(...Object.keys(BENCHES).map((known) => known.length))
  const list = Object.entries(BENCHES).map(([known, { about }]) => `  ${known.padEnd(width)}  ${about}`)
  console.error([...(typeof options === 'string' && bench !== undefined ? [options] : []), `usage: npm run bench -- NAME [--json]`, ...list].join('\n'))
  process.exitCode = name === '--help' ? 0 : 2
} else {
  const report = await bench.run((line) => console.error(line), options)
  console.log(options.flag('json') ? JSON.stringify(report) : table(report))
}
