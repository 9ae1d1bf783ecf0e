/** Times of entries, by their writers' clocks: from `since` on, before `until`. */
export interface TimeRange {
  readonly since?: Date | undefined
  readonly until?: Date | undefined
}
