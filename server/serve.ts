import { once } from 'node:events'
import type { Server } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { constants, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import pino, { type Logger } from 'pino'
import { base64 } from '../core/bytes.ts'
import { newOperationId } from '../core/ids.ts'
import type { HsmStats } from '../pkcs11/index.ts'
import type { WitnessStatus } from '../policies/audit/index.ts'
import { alarmKinds } from '../policies/alarms/index.ts'
import { systemCaller } from '../policies/caller.ts'
import { createApp } from './app.ts'
import { answerUnreadable } from './client-error.ts'
import { type Config, ConfigError } from './config.ts'
import { faultsOf } from './crash-at.ts'
import { Health, type PartState } from './health.ts'
import { Identities } from './identity.ts'
import { Metrics } from './metrics.ts'
import { createPlainListener } from './plain-listener.ts'
import { pemBlocks } from './pem.ts'
import { type OpenService, openService } from './service.ts'
import { SessionIdentities } from './session-identity.ts'
import { loadTlsIdentity } from './tls-identity.ts'

/** How often the service looks for ceremonies that were held beside it, such as the export of a backup. */
const CEREMONIES_EVERY_MS = 60_000

/** Runs the service until SIGTERM or SIGINT. Prints a line `ready` with both addresses when it answers. */
export async function serve(config: Config): Promise<void> {
  const logger = pino({ level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime })
  const stop = new AbortController()
  // From the first moment on: one that comes during the start is obeyed once it is done, and in order.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal))
  const service = await openService(config, logger, faultsOf(config))
  try {
    const closeListeners = await listen(config, service, logger)
    if (!stop.signal.aborted) await once(stop.signal, 'abort')
    logger.info({ signal: stop.signal.reason as string }, 'stopping')
    await closeListeners()
  } finally {
    await service.close()
  }
}

async function listen(config: Config, service: OpenService, logger: Logger): Promise<() => Promise<void>> {
  const metrics = new Metrics()
  const lanes = service.hsm.stats
  metrics.gauge('gridseal_token_state', 'The token: 2 ready, 1 degraded (some lanes work), 0 away.', () => TOKEN_STATES[lanes().token.state])
  metrics.gauge('gridseal_token_state_since_seconds', 'Since when it is in that state, Unix time.', () => lanes().token.since.getTime() / 1000)
  metrics.gauge('gridseal_lanes_ready', 'Lanes that work.', () => lanes().lanes.ready)
  metrics.gauge('gridseal_lanes_load', 'What waits for the lanes, counted in P-256 signatures.', () => lanes().lanes.load)
  metrics.gauge('gridseal_lane_restarts', 'Lanes that were replaced.', () => lanes().lanes.restarts)
  metrics.gauge('gridseal_lane_deadlines', 'Lanes that were killed because they gave no sign of life.', () => lanes().lanes.deadlines)
  for (const [name, help, read] of OWN_KEY_USES) metrics.gauge(name, help, () => read(lanes()))
  const rotation = (): OpenService['rotations']['rotationJob']['progress'] => service.rotations.rotationJob.progress
  metrics.gauge(
    'gridseal_root_key_rotation_state',
    'The rotation of a root key: 0 none, 1 to be approved, 2 its key is being made, 3 rows are brought under it, 4 the old key is to be destroyed.',
    () => ROTATION_STATES[rotation().state],
  )
  metrics.gauge('gridseal_root_key_rows_renewed', 'Rows that this process has brought under new root keys.', () => rotation().renewed)
  const receivers = (): ReturnType<OpenService['forwarding']['status']> => service.forwarding.status()
  metrics.gauges('gridseal_forwarding_lag', 'Signed entries that a receiver is not known to have read; on the leader.', 'receiver', () =>
    receivers().map(({ receiver, lag }) => [receiver, lag]),
  )
  metrics.gauges('gridseal_forwarding_position', 'Entries that a receiver is known to have read; on the leader.', 'receiver', () =>
    receivers().map(({ receiver, position }) => [receiver, position ?? 0]),
  )
  metrics.gauges('gridseal_forwarding_up_to_seconds', 'All that was signed by then a receiver has read, Unix time; on the leader.', 'receiver', () =>
    receivers().map(({ receiver, upTo }) => [receiver, upTo.getTime() / 1000]),
  )
  metrics.gauges('gridseal_forwarding_failing', '1: forwarding to a receiver fails, and is tried again.', 'receiver', () =>
    receivers().map(({ receiver, state }) => [receiver, state === 'failing' ? 1 : 0]),
  )
  const witnesses = (): ReturnType<OpenService['audit']['witnesses']> => service.audit.witnesses()
  metrics.gauge('gridseal_witnesses_well', 'Witnesses that have cosigned what there is, or will soon.', () => witnesses().filter(isWell).length)
  metrics.gauge(
    'gridseal_witnesses_not_well',
    'Witnesses that are behind, or say that the log has another history.',
    () => witnesses().filter((one) => !isWell(one)).length,
  )
  metrics.gauge('gridseal_witness_lag_entries', 'Signed entries that the witness furthest behind has not cosigned.', () =>
    Math.max(0, ...witnesses().map(({ lag }) => lag)),
  )
  metrics.gauges('gridseal_alarm_active', 'Alarms of this node: 1 while there is one of the kind.', 'kind', () => {
    const active = new Set(service.alarms.active.map(({ kind }) => kind))
    return alarmKinds().map((kind) => [kind, active.has(kind) ? 1 : 0])
  })
  const integrity = (): OpenService['integrity']['job']['status'] => service.integrity.job.status
  metrics.gauge('gridseal_integrity_open_findings', 'What in the database is not what the log says.', () => integrity().openFindings)
  metrics.gauge(
    'gridseal_integrity_passed_at_seconds',
    'When the whole database was compared with the log last, Unix time; 0: never.',
    () => (integrity().lastPassAt?.getTime() ?? 0) / 1000,
  )
  const health = new Health(
    [
      { name: 'database', check: () => service.database.sql.query('SELECT 1') },
      { name: 'token', state: () => lanes().token },
      { name: 'policy', check: () => (service.revisions.keeper.recovery === undefined ? Promise.resolve() : Promise.reject(new Error('recovery'))) },
      // A receiver that is away is a lag, and keeps nobody from being served.
      ...config.syslog.map(({ name }) => ({
        name: `forwarding ${name}`,
        state: (): PartState => {
          const status = receivers().find(({ receiver }) => receiver === name)
          return { state: status?.state === 'failing' ? 'degraded' : 'ready', since: status?.since ?? new Date() }
        },
      })),
      { name: 'integrity', state: () => ({ state: integrity().openFindings > 0 ? 'degraded' : 'ready', since: integrity().since }) },
      { name: 'auditLog', check: () => (service.audit.status().fault === undefined ? Promise.resolve() : Promise.reject(new Error('it has stopped'))) },
      ...(config.witnessPolicy === undefined ? [] : [{ name: 'witnesses', state: () => witnessesState(witnesses()) }]),
    ],
    (part, { state, since }) => logger[state === 'ready' ? 'info' : 'warn']({ part, state, since }, 'a part changed'),
  )
  await health.start()
  await service.audit.start()
  await service.audit.log.append({
    kind: 'event',
    id: newOperationId(),
    operation: 'system.started',
    caller: systemCaller('start'),
    facts: { public: { node: process.version, lanes: config.lanes } },
  })
  const logCeremonies = (): Promise<void> =>
    service.logCeremonies().catch((error: unknown) => logger.warn({ cause: String(error) }, 'ceremonies are put into the log later'))
  await logCeremonies()
  const ceremonies = setInterval(() => void logCeremonies(), CEREMONIES_EVERY_MS).unref()
  for (const job of service.jobs) job.start()
  await service.forwarding.start().catch((error: unknown) => {
    throw new ConfigError(`GRIDSEAL_SYSLOG: ${error instanceof Error ? error.message : String(error)}.`)
  })
  service.alarms.start()

  const tls = await loadTlsIdentity({
    folder: join(config.data, 'tls'),
    names: config.names,
    nowMs: Date.now(),
    issue: async ({ spki, dnsNames, ipAddresses }) => {
      const issued = await service.performSystem(systemCaller('start'), 'kms.service-certificate.issue', {
        purpose: 'tls-server',
        spki: base64(spki),
        dnsNames,
        ipAddresses,
      })
      return String(issued['certificate'])
    },
  })
  const callersChain = pemBlocks((await service.kms.certificates.chainPem('callers')) ?? '')
  const countEarlyFailure = (source: string, code: string): void => service.audit.earlyFailures.count(source, code)
  const app = createApp({
    operations: service.operations,
    gate: service.gate,
    sessions: new SessionIdentities(service.people),
    identities: new Identities({ find: service.findCaller, issuer: new X509Certificate(callersChain[0] ?? '') }),
    metrics,
    logger,
    keySet: service.attestation.keySet(),
    countEarlyFailure,
    isCutOff: () => service.revisions.keeper.isCutOff,
  })
  const answer = app.callback()
  const tlsServer = createServer(
    {
      ...tls,
      // With the root above it: Node's TLS server (20) takes no partial chain. Identities looks at the issuer, since the root stands above other CAs too.
      ca: callersChain,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384',
      honorCipherOrder: true,
      // No resumption, no renegotiation: each connection shows its certificate, and one.
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      handshakeTimeout: 10_000,
      headersTimeout: 10_000,
      requestTimeout: 120_000,
      keepAliveTimeout: 75_000,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 16_384,
      // The application refuses a request without one, in its own words.
      requireHostHeader: false,
    },
    (request, response) => void answer(request, response),
  )
  answerUnreadable(tlsServer, countEarlyFailure)
  // An expectation that is not known is passed over (RFC 9110 10.1.1).
  tlsServer.on('checkExpectation', (request, response) => tlsServer.emit('request', request, response))
  const plainServer = createPlainListener({
    metrics,
    authority: (name) => (isAuthority(name) ? service.kms.certificates.chainPem(name) : Promise.resolve(undefined)),
    crl: (name) => (isAuthority(name) ? service.kms.findCrl(name) : Promise.resolve(undefined)),
    keySet: service.attestation.keySet(),
    logKey: service.audit.key.vkey,
    log: service.audit.publicTiles,
    health,
    alarms: () => service.alarms.active,
  })
  const tlsPort = await bind(tlsServer, { port: config.tlsPort, host: config.host, setting: 'GRIDSEAL_TLS_PORT' })
  const plainPort = await bind(plainServer, { port: config.plainPort, host: config.host, setting: 'GRIDSEAL_PLAIN_PORT' }).catch((error: unknown) => {
    tlsServer.close()
    throw error
  })
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  logger.info({ tls: `https://${host}:${String(tlsPort)}`, plain: `http://${host}:${String(plainPort)}`, data: config.data, pid: process.pid }, 'ready')
  return async () => {
    clearInterval(ceremonies)
    health.stop()
    await Promise.all([shut(tlsServer), shut(plainServer)])
  }
}

const isWell = ({ state }: WitnessStatus): boolean => state === 'ready' || state === 'waiting'

/** Without them the service works: whoever verifies the log waits for them. */
function witnessesState(witnesses: readonly WitnessStatus[]): PartState {
  const unwell = witnesses.filter((one) => !isWell(one))
  const times = (unwell.length > 0 ? unwell : witnesses).map(({ since }) => since.getTime())
  return { state: unwell.length > 0 ? 'degraded' : 'ready', since: new Date(unwell.length > 0 ? Math.min(...times) : Math.max(0, ...times)) }
}

const AUTHORITIES = ['root', 'callers', 'cards'] as const
const isAuthority = (name: string): name is (typeof AUTHORITIES)[number] => (AUTHORITIES as readonly string[]).includes(name)

const ROTATION_STATES = { none: 0, requested: 1, making: 2, working: 3, closing: 4, retired: 0, cancelled: 0 } as const

/** Uses of the keys that no caller names: they are counted and not logged singly. */
const OWN_KEY_USES: readonly (readonly [name: string, help: string, read: (stats: HsmStats) => number])[] = [
  ['gridseal_integrity_rows', 'Row MACs made and checked.', ({ integrity }) => integrity.rows],
  ['gridseal_integrity_groups', 'Group MACs of the log made and checked.', ({ integrity }) => integrity.groups],
  ['gridseal_integrity_checkpoints', 'Checkpoints signed.', ({ integrity }) => integrity.checkpoints],
  ['gridseal_integrity_blind_indexes', 'Blind indexes made.', ({ integrity }) => integrity.blindIndexes],
  ['gridseal_person_secrets_peppers', 'MACs by the pepper key: of passwords, recovery codes and devices.', ({ personSecrets }) => personSecrets.peppers],
  ['gridseal_person_secrets_made', 'Secrets of one-time codes made.', ({ personSecrets }) => personSecrets.secretsMade],
  ['gridseal_person_secrets_codes', 'HMACs of one-time codes.', ({ personSecrets }) => personSecrets.codes],
]

const TOKEN_STATES = { ready: 2, degraded: 1, away: 0 } as const

/** Throws a {@link ConfigError} where the address cannot be had. */
async function bind(server: Server, { port, host, setting }: { readonly port: number; readonly host: string; readonly setting: string }): Promise<number> {
  server.listen(port, host)
  await once(server, 'listening').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'EADDRINUSE' ? 'another program has it. Stop that one, or choose another port' : error.message
    throw new ConfigError(`${setting}: cannot listen on ${host}:${String(port)}: ${why}.`)
  })
  return (server.address() as AddressInfo).port
}

/** Stops accepting, gives what is under way 10 s, then cuts. */
async function shut(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), 10_000)
  await closed
  clearTimeout(timer)
}
