import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { projectFile } from './project-file.ts'

const read = (page: string): string => readFileSync(projectFile(page), 'utf8')
const inDocs = readdirSync(projectFile('docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`)
const pages = ['README.md', 'pkcs11/README.md', ...inDocs]

/** As GitHub names the place of a heading: lower case, no punctuation, hyphens for spaces. */
const placeOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number} _-]/gu, '')
    .replaceAll(' ', '-')

/** Links to files of the project, of text that is not code. */
function linksOf(page: string): readonly { readonly file: string; readonly place: string | undefined }[] {
  const text = read(page).replaceAll(/```.*?```/gs, '')
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = '', place] = target.split('#')
      return { file: file === '' ? page : normalize(join(dirname(page), file)), place }
    })
}

describe('pages', () => {
  it.each(pages)('%s: what it links to is there', (page) => {
    const missing = linksOf(page).filter(({ file, place }) => {
      if (!existsSync(projectFile(file))) return true
      return place !== undefined && !Array.from(read(file).matchAll(/^#+ (.*)$/gm), ([, heading = '']) => placeOf(heading)).includes(place)
    })
    expect(missing).toEqual([])
  })

  it('README.md: each page of docs/ is linked', () => {
    const linked = new Set(linksOf('README.md').map(({ file }) => file))
    expect(inDocs.filter((page) => !linked.has(page))).toEqual([])
  })
})
