import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enrolFirstOfficers, type Participant, type Service, startService } from '../clients/site.ts'

export interface BenchSite {
  readonly folder: string
  readonly data: string
  readonly service: Service
  readonly officers: readonly Participant[]
  readonly trust: string
}

/** Runs `work` against a new service in a temporary folder, and leaves nothing behind. */
export async function withSite<T>(env: Readonly<Record<string, string>>, work: (site: BenchSite) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-bench-'))
  const settings = { data: join(folder, 'data'), env: { GRIDSEAL_LOG_LEVEL: 'info', ...env } }
  let service: Service | undefined
  try {
    service = await startService(settings)
    const { officers, trust } = await enrolFirstOfficers(service, settings, join(folder, 'people'), ['alice', 'bob'])
    return await work({ folder, data: settings.data, service, officers, trust })
  } finally {
    await service?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
