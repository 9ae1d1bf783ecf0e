/** `ratio`: also above 1. `at-most`: a value that is not to be passed. */
export type GoalIs = 'ratio' | 'at-most'

/** One measured figure beside its limit: the bare loop or peer that was measured in the same run. */
export interface Result {
  readonly metric: string
  readonly value: number
  readonly unit: string
  /** The limit's value, in the same unit. */
  readonly limit?: number
  /** value / limit */
  readonly ratio?: number
  /** What is aimed at, at least: a ratio when below or equal to 1, else a value. `goalIs` says otherwise. */
  readonly goal?: number
  readonly goalIs?: GoalIs
  readonly met?: boolean
}

export interface Report {
  readonly bench: string
  readonly results: readonly Result[]
  /** Where the time goes, and what is to be known to read the figures. */
  readonly notes?: readonly string[]
}

export function result({ metric, value, unit, limit, goal, goalIs }: Pick<Result, 'metric' | 'value' | 'unit' | 'limit' | 'goal' | 'goalIs'>): Result {
  const ratio = limit === undefined ? undefined : value / limit
  const met =
    goal === undefined ? undefined : goalIs === 'at-most' ? value <= goal : isRatio(goal, goalIs) ? ratio !== undefined && ratio >= goal : value >= goal
  return {
    metric,
    value: round(value),
    unit,
    ...(limit === undefined ? {} : { limit: round(limit) }),
    ...(ratio === undefined ? {} : { ratio: Math.round(ratio * 1000) / 1000 }),
    ...(goal === undefined ? {} : { goal }),
    ...(goalIs === undefined ? {} : { goalIs }),
    ...(met === undefined ? {} : { met }),
  }
}

const isRatio = (goal: number, goalIs: GoalIs | undefined): boolean => goalIs === 'ratio' || (goalIs === undefined && goal <= 1)
const round = (value: number): number => (value >= 100 ? Math.round(value) : Math.round(value * 100) / 100)

export function table({ bench, results, notes = [] }: Report): string {
  const rows = results.map(({ metric, value, unit, limit, ratio, goal, goalIs, met }) => [
    metric,
    `${value.toLocaleString('en')} ${unit}`,
    limit === undefined ? '' : limit.toLocaleString('en'),
    ratio === undefined ? '' : `${(ratio * 100).toFixed(0)} %`,
    goal === undefined ? '' : `${goalIs === 'at-most' ? 'at most ' : ''}${isRatio(goal, goalIs) ? `${String(goal * 100)} %` : goal.toLocaleString('en')}`,
    met === undefined ? '' : met ? 'met' : 'not met',
  ])
  const all = [['metric', 'value', 'limit', 'ratio', 'goal', ''], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = all.map(
    (row) => `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`,
  )
  return [`bench ${bench}`, ...lines, ...notes.map((note) => `  ${note}`)].join('\n')
}
