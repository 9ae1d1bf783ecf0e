import { existsSync } from 'node:fs'
import { readText } from './with-client.ts'

/** The log's verifier keys: each itself, or in a file. */
export const readKeys = (keys: readonly string[]): string[] => keys.map((key) => (existsSync(key) ? readText(key) : key).trim())
