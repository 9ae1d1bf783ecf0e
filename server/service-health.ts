import type { Logger } from 'pino'
import type { WitnessStatus } from '../policies/audit/index.ts'
import type { Config } from './config.ts'
import { Health, type PartState } from './health.ts'
import type { OpenService } from './service.ts'

/** The parts of the service. One that is `away` keeps it from serving; one that is `degraded` a person has to look at. */
export function serviceHealth(config: Config, service: OpenService, logger: Logger): Health {
  const integrity = (): OpenService['integrity']['job']['status'] => service.integrity.job.status
  return new Health(
    [
      { name: 'database', check: () => service.database.sql.query('SELECT 1') },
      { name: 'token', state: () => service.hsm.stats().token },
      { name: 'policy', check: () => (service.revisions.keeper.recovery === undefined ? Promise.resolve() : Promise.reject(new Error('recovery'))) },
      // A receiver that is away is a lag, and keeps nobody from being served.
      ...config.syslog.map(({ name }) => ({
        name: `forwarding ${name}`,
        state: (): PartState => {
          const status = service.forwarding.status().find(({ receiver }) => receiver === name)
          return { state: status?.state === 'failing' ? 'degraded' : 'ready', since: status?.since ?? new Date() }
        },
      })),
      { name: 'integrity', state: () => ({ state: integrity().openFindings > 0 ? 'degraded' : 'ready', since: integrity().since }) },
      { name: 'auditLog', check: () => (service.audit.status().fault === undefined ? Promise.resolve() : Promise.reject(new Error('it has stopped'))) },
      ...(config.witnessPolicy === undefined ? [] : [{ name: 'witnesses', state: () => witnessesState(service.audit.witnesses()) }]),
    ],
    (part, { state, since }) => logger[state === 'ready' ? 'info' : 'warn']({ part, state, since }, 'a part changed'),
  )
}

export const isWell = ({ state }: WitnessStatus): boolean => state === 'ready' || state === 'waiting'

/** Without them the service works: whoever verifies the log waits for them. */
function witnessesState(witnesses: readonly WitnessStatus[]): PartState {
  const unwell = witnesses.filter((one) => !isWell(one))
  const times = (unwell.length > 0 ? unwell : witnesses).map(({ since }) => since.getTime())
  return { state: unwell.length > 0 ? 'degraded' : 'ready', since: new Date(unwell.length > 0 ? Math.min(...times) : Math.max(0, ...times)) }
}
