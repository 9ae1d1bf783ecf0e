import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { folderSource, MAX_BUNDLE_BYTES } from './audit-source.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-source-'))
beforeAll(() => {
  writeFileSync(join(folder, 'checkpoint'), 'note')
  symlinkSync('checkpoint', join(folder, 'link'))
  symlinkSync('/dev/zero', join(folder, 'endless'))
  execFileSync('mkfifo', [join(folder, 'pipe')])
  mkdirSync(join(folder, 'folder'))
  const long = openSync(join(folder, 'long'), 'w')
  ftruncateSync(long, MAX_BUNDLE_BYTES + 1)
  closeSync(long)
})
afterAll(() => rmSync(folder, { recursive: true }))

const read = async (path: string): Promise<string | undefined> => {
  const bytes = await folderSource(folder).read(path)
  return bytes && Buffer.from(bytes).toString()
}

it('reads files, also by links, and knows what is not there', async () => {
  expect(await read('checkpoint')).toBe('note')
  expect(await read('link')).toBe('note')
  expect(await read('tile/0/000')).toBeUndefined()
  expect(await read('checkpoint/000')).toBeUndefined()
})

it.each([
  ['a link to a device that never ends', 'endless', 'no file'],
  ['a pipe that nobody writes to', 'pipe', 'no file'],
  ['a folder', 'folder', 'no file'],
  ['a file that is longer than any of a log', 'long', 'too long'],
])('refuses %s', async (_what, path, why) => {
  await expect((async () => read(path))()).rejects.toThrow(why)
})
