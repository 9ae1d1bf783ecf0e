import { bareLoop } from '../pkcs11/bare-loop.ts'
import { enrolVendor, submitOrder, waitForOrder } from '../clients/vendor.ts'
import { type Report, type Result, result } from './report.ts'
import { withSite } from './site.ts'

const CARDS = 20_000
const BARE_SECONDS = 6

/** Cards filled with one lane and with two, each beside the bare loop in the same run. */
export async function benchFill(say: (line: string) => void): Promise<Report> {
  const one = await measure({ lanes: 1, metric: 'cards-with-certificates', goal: 0.6, say })
  const two = await measure({ lanes: 2, metric: 'cards-with-certificates-two-lanes', say })
  return {
    bench: 'fill',
    results: [...one, ...two],
    notes: [
      `${CARDS.toLocaleString('en')} cards, from approval to the sealed delivery: keys with a P-256 pair, KCVs, wraps, certificates, row MACs, rows and two log entries a card, committed in chunks of 500.`,
    ],
  }
}

const measure = ({ lanes, metric, goal, say }: { lanes: number; metric: string; goal?: number; say: (line: string) => void }): Promise<Result[]> =>
  withSite({ GRIDSEAL_LANES: String(lanes) }, async (site) => {
    const vendor = await enrolVendor({ site, name: 'bench-cards' })
    say(`bare: every C_ call of a card in a loop, one thread, on the same token ...`)
    const bare = await bareLoop({ dataFolder: site.data, loop: 'fill', seconds: BARE_SECONDS })
    say(`fill: ${CARDS.toLocaleString('en')} cards, ${String(lanes)} lane${lanes === 1 ? '' : 's'} ...`)
    const order = await submitOrder(vendor, { start: { iccid: '89860099990000000005', imsi: '460009900000000' }, quantity: CARDS })
    const start = performance.now()
    await site.officers[0]?.client.post(`/v1/card-personalization/orders/${order}/approve`)
    await waitForOrder(vendor, order)
    const value = CARDS / ((performance.now() - start) / 1000)
    return [result({ metric, value, unit: 'cards/s', limit: bare, ...(goal === undefined ? {} : { goal }) })]
  })
