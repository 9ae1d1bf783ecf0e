/** What a terminal would obey or show otherwise (controls, line ends, directions) is written as escapes: logs and files hold text of others' own choosing. */
const printable = (text: string): string =>
  text.replaceAll(/\p{C}/gu, (character) =>
    [...Array(character.length).keys()].map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  )

/** Lines for a terminal: none of them becomes two, and none writes over another. */
export const printableLines = (lines: readonly string[]): string => lines.map(printable).join('\n')
