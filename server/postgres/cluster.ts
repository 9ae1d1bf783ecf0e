import { randomBytes } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Binaries } from './binaries.ts'
import { chooseRunAs, give, ownerOf, type RunAs } from './run-as.ts'

/** `admin` makes the two others and is used for nothing else. */
export const ROLES = { admin: 'gridseal_admin', owner: 'gridseal_owner', service: 'gridseal_service' } as const
export type RoleName = keyof typeof ROLES
export type Passwords = Readonly<Record<RoleName, string>>

/** A database cluster on disk, and how to run its server. */
export interface Cluster {
  /** PostgreSQL's data folder. */
  readonly path: string
  readonly runAs: RunAs
  readonly passwords: Passwords
}

/**
 * The cluster in `folder/cluster`, made when it is not there. It is made beside its place and moved: a crash leaves either none or a whole one.
 * `durable: false` makes it without waiting for the disk (tests).
 */
export function prepareCluster(folder: string, binaries: Binaries, { durable }: { readonly durable: boolean }): Cluster {
  makeFolder(folder)
  const passwords = { admin: password(folder, 'admin'), owner: password(folder, 'owner'), service: password(folder, 'service') }
  const path = join(folder, 'cluster')
  if (!existsSync(path)) initialise({ folder, path, binaries, durable, adminPassword: passwords.admin })
  return { path, runAs: ownerOf(path), passwords }
}

/** Parents are made as the umask says, the folder itself for this user only. The user that root runs the server as must be able to cross it. */
function makeFolder(folder: string): void {
  mkdirSync(dirname(folder), { recursive: true })
  if (!existsSync(folder)) mkdirSync(folder, { mode: process.getuid?.() === 0 ? 0o711 : 0o700 })
}

function password(folder: string, role: RoleName): string {
  const path = join(folder, `${role}.password`)
  try {
    writeFileSync(path, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(path, 'utf8').trim()
}

interface NewCluster {
  readonly folder: string
  readonly path: string
  readonly binaries: Binaries
  readonly durable: boolean
  readonly adminPassword: string
}

function initialise({ folder, path, binaries, durable, adminPassword }: NewCluster): void {
  const runAs = chooseRunAs(binaries.postgres, folder)
  const making = mkdtempSync(join(folder, 'making-'))
  const passwordFile = join(folder, `${making.slice(-6)}.initial`)
  try {
    writeFileSync(passwordFile, adminPassword, { mode: 0o600, flag: 'wx' })
    for (const given of [making, passwordFile]) give(given, runAs)
    const [program, ...args] = runAs.command(binaries.initdb, [
      ...['-D', making, '-U', ROLES.admin, `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8', '--no-instructions'],
      // Sorting and upper case by PostgreSQL's own tables: an update of the system's libraries cannot change the order in an index.
      ...['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--data-checksums', ...(durable ? [] : ['--no-sync'])],
    ])
    const done = spawnSync(program, args, { ...runAs.ids, cwd: '/', env: serverEnvironment(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    if (done.status !== 0) throw new Error(`initdb failed, run as ${runAs.name}: ${done.error?.message ?? done.stderr.trim()}`)
    moveInPlace(making, path)
  } finally {
    for (const left of [making, passwordFile]) rmSync(left, { recursive: true, force: true })
  }
}

/** Another process may have been faster: then its cluster is the one. */
function moveInPlace(making: string, path: string): void {
  try {
    renameSync(making, path)
  } catch (error) {
    if (!existsSync(path) || !statSync(path).isDirectory()) throw error
  }
}

/** Nothing of the caller's environment: no PGOPTIONS, no secret. */
export const serverEnvironment = (): NodeJS.ProcessEnv => ({ PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' })
