import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A file system of its own in memory, of so many MiB, that a test can fill. Mounting needs root. */
export class SmallDisk {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Why there can be none here; undefined where there can. A machine of CI that runs tests as root has to have it. */
  static obstacle(probe: string): string | undefined {
    if (process.getuid?.() !== 0) return 'mounting a small file system needs root'
    try {
      new SmallDisk(probe).#mount(1)
    } catch (error) {
      if (process.env['CI'] !== undefined) throw error
      return `no file system can be mounted here: ${String(error)}`
    }
    execFileSync('umount', [probe])
    return undefined
  }

  static at(folder: string, mib: number): SmallDisk {
    const disk = new SmallDisk(folder)
    disk.#mount(mib)
    return disk
  }

  #mount(mib: number): void {
    mkdirSync(this.folder, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(mib)}m,mode=0711`, 'tmpfs', this.folder], { stdio: 'pipe' })
  }

  /** To the last block. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.folder)
    try {
      writeFileSync(this.#ballast, Buffer.alloc(bavail * bsize))
    } catch (error) {
      // Somebody else took the last of it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }

  empty(): void {
    rmSync(this.#ballast, { force: true })
  }

  /** Also while somebody still has files open there. */
  unmount(): void {
    execFileSync('umount', ['-l', this.folder])
  }

  get #ballast(): string {
    return join(this.folder, 'ballast')
  }
}
