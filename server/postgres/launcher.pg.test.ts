import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from '../database.ts'
import { findBinaries } from './binaries.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './launcher.ts'
import { chooseRunAs, closedFolder } from './run-as.ts'

const NOBODY = 65534
const isRoot = process.getuid?.() === 0

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

/** The same again until it succeeds. */
async function eventually<Result>(work: () => Promise<Result>): Promise<Result> {
  for (const deadline = performance.now() + 15_000; ; await sleep(50)) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
  }
}

describe('embedded PostgreSQL', () => {
  let folder: string
  const running: EmbeddedPostgres[] = []
  const start = async (place = join(folder, 'postgres')): Promise<EmbeddedPostgres> => {
    const server = await startEmbeddedPostgres({ folder: place })
    running.push(server)
    return server
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gridseal-launcher-'))
  })
  afterEach(async () => {
    for (const server of running.splice(0)) await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('starts in an empty folder, keeps what it was told, and stops', async () => {
    const server = await start()
    await query(server.url('owner'), 'CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)')
    await server.stop()
    expect(server.pid).toBe(0)
    await expect(query(server.url('owner'), 'SELECT 1')).rejects.toThrow('ENOENT')
    const again = await start()
    expect(await query(again.url('owner'), 'SELECT id FROM kept')).toEqual([{ id: 7 }])
  })

  it('waits for the disk, listens on no network, and lets nobody in without a password', async () => {
    const server = await start()
    const [settings] = await query(
      server.url('service'),
      `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS sync, current_setting('full_page_writes') AS pages,
         current_setting('data_checksums') AS sums, current_setting('listen_addresses') AS addresses, current_user::text AS me`,
    )
    expect(settings).toEqual({ fsync: 'on', sync: 'on', pages: 'on', sums: 'on', addresses: '', me: 'gridseal_service' })
    const wrong = new URL(server.url('service'))
    wrong.password = 'guess'
    await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow('password authentication failed')
    expect(readFileSync(join(folder, 'postgres', 'cluster', 'pg_hba.conf'), 'utf8')).not.toMatch(/^[^#]*\btrust\b/m)
    for (const role of ['admin', 'owner', 'service']) expect(statSync(join(folder, 'postgres', `${role}.password`)).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'postgres', 'cluster')).mode & 0o077).toBe(0)
  })

  it('gives the service neither the tables nor the powers of the owner', async () => {
    const server = await start()
    await query(server.url('owner'), 'CREATE TABLE secrets (id int)')
    await expect(query(server.url('service'), 'SELECT * FROM secrets')).rejects.toThrow('permission denied')
    await expect(query(server.url('service'), 'SET ROLE gridseal_owner')).rejects.toThrow('permission denied')
    await expect(query(server.url('service'), 'CREATE TABLE mine (id int)')).rejects.toThrow('permission denied')
    await expect(query(server.url('owner'), 'CREATE ROLE more')).rejects.toThrow('permission denied')
  })

  it('writes no value of a row into its messages', async () => {
    const server = await start()
    await query(server.url('owner'), 'CREATE TABLE cards (iccid text PRIMARY KEY)')
    const insert = `INSERT INTO cards VALUES ('89860412345678901237')`
    await query(server.url('owner'), insert)
    await expect(query(server.url('owner'), insert)).rejects.toThrow('duplicate key')
    const messages = readFileSync(join(folder, 'postgres', 'server.log'), 'utf8')
    expect(messages).toContain('duplicate key')
    expect(messages).not.toContain('8986041234567890')
  })

  it('starts the server again when it is killed, and no commit is lost', async () => {
    const server = await start()
    await query(server.url('owner'), 'CREATE TABLE kept (id int); GRANT SELECT ON kept TO gridseal_service')
    const database = openDatabase({ serviceUrl: server.url('service') })
    for (let round = 1; round <= 3; round++) {
      await query(server.url('owner'), `INSERT INTO kept VALUES (${round})`)
      const [idle, { pid }] = [await database.connect(), server]
      process.kill(pid, 'SIGKILL')
      await eventually(async () => expect([0, pid]).not.toContain(server.pid))
      const rows = await eventually(() => database.sql.query('SELECT id FROM kept ORDER BY id'))
      expect(rows).toHaveLength(round)
      await expect(idle.query('SELECT 1')).rejects.toThrow(/not queryable|terminated/)
    }
    await database.close()
  })

  it('attaches to the server that a killed process left running, and stops it', async () => {
    const place = join(folder, 'postgres')
    const program = `import(${JSON.stringify(fileURLToPath(new URL('./launcher.ts', import.meta.url)))}).then(async ({ startEmbeddedPostgres }) => {
      const server = await startEmbeddedPostgres({ folder: ${JSON.stringify(place)} })
      console.log(server.pid)
      setInterval(() => undefined, 1000)
    })`
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number.parseInt(line.toString(), 10)

    const guest = await start(place)
    expect([guest.pid, guest.isGuest]).toEqual([pid, true])
    await guest.stop()
    expect(existsSync(`/proc/${pid}`) || process.platform !== 'linux').toBe(true)

    parent.kill('SIGKILL')
    await once(parent, 'exit')
    const heir = await start(place)
    expect([heir.pid, heir.isGuest]).toEqual([pid, false])
    expect(await query(heir.url('service'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    await heir.stop()
    expect(heir.pid).toBe(0)
  })

  it('starts although postmaster.pid names an unrelated living process', async () => {
    const server = await start()
    const path = join(folder, 'postgres', 'cluster', 'postmaster.pid')
    const content = readFileSync(path, 'utf8')
    await server.stop()
    writeFileSync(path, content.replace(/^\d+/, String(process.ppid)))
    if (isRoot) chownSync(path, statSync(join(folder, 'postgres', 'cluster')).uid, -1)
    const again = await start()
    expect(await query(again.url('service'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('is one server when two start at once in an empty folder', async () => {
    const [one, two] = await Promise.all([start(), start()])
    expect(one.pid).toBe(two.pid)
    expect(readdirSync(join(folder, 'postgres')).filter((name) => /^(making|trial)-/.test(name))).toEqual([])
  })

  it('works where the path is longer than a socket may have', async () => {
    const deep = join(folder, 'a'.repeat(60), 'b'.repeat(60))
    const server = await start(deep)
    expect(await query(server.url('service'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it.runIf(isRoot)('works in a folder that only root enters', async () => {
    const closed = join(folder, 'closed')
    mkdirSync(closed, { mode: 0o700 })
    const server = await start(join(closed, 'postgres'))
    expect(await query(server.url('service'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(statSync(`/proc/${server.pid}`).uid === 0 || statSync(`/proc/${server.pid}`).uid === NOBODY).toBe(true)
  })

  it.runIf(isRoot)('works as an ordinary user in a folder of its own', async () => {
    const place = join(folder, 'home')
    mkdirSync(place, { mode: 0o700 })
    chownSync(place, NOBODY, NOBODY)
    chmodSync(folder, 0o711)
    const launcher = fileURLToPath(new URL('./launcher.ts', import.meta.url))
    const program = `import(${JSON.stringify(launcher)}).then(async ({ startEmbeddedPostgres }) => {
      const server = await startEmbeddedPostgres({ folder: ${JSON.stringify(join(place, 'postgres'))} })
      const { default: pg } = await import(${JSON.stringify(import.meta.resolve('pg'))})
      const client = new pg.Client({ connectionString: server.url('service') })
      await client.connect()
      console.log(process.getuid(), (await client.query('SELECT 1 AS one')).rows[0].one)
      await client.end()
      await server.stop()
    })`
    const done = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      uid: NOBODY,
      gid: NOBODY,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], TMPDIR: place },
    })
    expect(done.stderr).toBe('')
    expect(done.stdout.trim()).toBe(`${NOBODY} 1`)

    const taken = await start(join(place, 'postgres'))
    expect(await query(taken.url('service'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(statSync(`/proc/${taken.pid}`).uid).toBe(NOBODY)
  })

  it.runIf(isRoot)('works where user namespaces are refused', async () => {
    chmodSync(folder, 0o711)
    const path = process.env['PATH']
    process.env['PATH'] = '/nowhere'
    try {
      const server = await start()
      expect(statSync(join(folder, 'postgres', 'cluster')).uid).toBe(NOBODY)
      expect(await query(server.url('service'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    } finally {
      process.env['PATH'] = path
    }
  })

  it.runIf(isRoot)('names the folder that keeps other users out', async () => {
    const closed = join(folder, 'shut')
    mkdirSync(join(closed, 'inner'), { recursive: true })
    chmodSync(folder, 0o711)
    chmodSync(closed, 0o700)
    expect(closedFolder(join(closed, 'inner', 'postgres'))).toBe(closed)
    expect(() => chooseRunAs(join(closed, 'no-such-program'), closed)).toThrow(`chmod o+x ${closed}`)
  })

  it('says what to do on a platform without binaries', async () => {
    await expect(findBinaries('sunos-x64')).rejects.toThrow('set DATABASE_URL')
    await expect(findBinaries('win32-x64')).rejects.toThrow('set DATABASE_URL')
  })
})
