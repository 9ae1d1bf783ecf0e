import { Problem } from '../../core/problem.ts'
import { ConfigError } from '../config.ts'
import { CliError } from './cli-error.ts'

/** What the system says of a file, in words. */
const OF_FILES: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  EACCES: 'may not be read or written by this user',
  EPERM: 'may not be changed by this user',
  EISDIR: 'is a folder',
  ENOTDIR: 'lies below what is no folder',
  EEXIST: 'is there already',
  ENOSPC: 'cannot be written: the disk is full',
  EROFS: 'cannot be written: its file system is read-only',
}

/** Of a command that failed, for who typed it: one line, and a stack only where the fault is the program’s. */
export function describeFailure(error: unknown): string {
  // On the host itself the cause is told, which callers never are.
  if (error instanceof Problem) return error.cause instanceof Error ? `${error.detail} (${error.cause.message})` : error.detail
  if (!(error instanceof Error)) return String(error)
  if (error instanceof CliError || error instanceof ConfigError) return error.message
  const { code, path, syscall } = error as NodeJS.ErrnoException
  if (code !== undefined && syscall !== undefined) {
    const words = OF_FILES[code]
    return words === undefined || path === undefined ? error.message : `${path} ${words}.`
  }
  return error.stack ?? error.message
}
