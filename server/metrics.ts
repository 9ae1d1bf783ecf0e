import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** What the operators' monitoring sees, on the plain listener. Labels are operation names and codes: nothing of callers or cards. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #duration = new Histogram({
    name: 'gridseal_operation_seconds',
    help: 'Time from request to answer, by operation.',
    labelNames: ['operation'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers: [this.#registry],
  })
  readonly #outcomes = new Counter({
    name: 'gridseal_operations_total',
    help: 'Operations by outcome code.',
    labelNames: ['operation', 'code'],
    registers: [this.#registry],
  })

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
  }

  observe(operation: string, code: string, seconds: number): void {
    this.#duration.labels(operation).observe(seconds)
    this.#outcomes.labels(operation, code).inc()
  }

  /** Numbers that other parts count themselves, read when asked for. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read())
      },
    })
  }

  /** The same of several things, by a label. */
  gauges(name: string, help: string, label: string, read: () => readonly (readonly [value: string, number])[]): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        for (const [value, number] of read()) this.labels(value).set(number)
      },
    })
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
