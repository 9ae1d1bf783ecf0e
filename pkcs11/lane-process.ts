import { runLane } from './lane-loop.ts'
import { VERBS } from './verbs.ts'

runLane(VERBS)
