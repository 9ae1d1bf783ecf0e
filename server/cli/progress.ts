/** A count on the terminal's last line, on standard error; where that is no terminal, nothing. */
export function showProgress(what: string): { readonly add: (count: number) => void; readonly end: () => void } {
  let total = 0
  let shownAt = 0
  const started = performance.now()
  return {
    add: (count) => {
      total += count
      const now = performance.now()
      if (!process.stderr.isTTY || now - shownAt < 200) return
      shownAt = now
      const rate = Math.round((total * 1000) / Math.max(1, now - started))
      process.stderr.write(`\r\u001b[K${total.toLocaleString('en')} ${what}, ${rate.toLocaleString('en')} a second`)
    },
    end: () => {
      if (shownAt > 0) process.stderr.write('\r\u001b[K')
      shownAt = 0
    },
  }
}
