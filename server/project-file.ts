import { existsSync, readFileSync } from 'node:fs'

/** A file of the project. Both the sources and `dist/` run. */
export const projectFile = (path: string): URL => {
  const beside = new URL(`../${path}`, import.meta.url)
  return existsSync(beside) ? beside : new URL(`../../${path}`, import.meta.url)
}

/** Of the product. */
export const version = (): string => (JSON.parse(readFileSync(projectFile('package.json'), 'utf8')) as { version: string }).version
