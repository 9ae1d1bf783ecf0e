import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const IS_SOURCE = import.meta.url.endsWith('.ts')

/** The file of an entry beside `from` (an `import.meta.url`): `lane-process` is `.ts` in the sources and `.js` in dist. */
export const entryUrl = (name: string, from: string): URL => new URL(`./${name}${IS_SOURCE ? '.ts' : '.js'}`, from)

/** What Node is to be given for an entry that is a process of its own: the sources run through tsx, whose loader it does not inherit. */
export const entryArguments = (): readonly string[] => (IS_SOURCE ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href] : [])
