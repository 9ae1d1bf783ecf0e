import { openHsm } from '../index.ts'

/** A service's first start on the data folder of its argument, to be killed by a test. */
await openHsm({ dataFolder: process.argv[2] ?? '', lanes: 1 })
