import type { ForwarderStatus } from './forwarder.ts'

/** Receivers that have not read for so long what was signed, as the leader knows; undefined where there is none. */
export function forwardersBehind(
  receivers: readonly ForwarderStatus[],
  { seconds, nowMs }: { readonly seconds: number; readonly nowMs: number },
): string | undefined {
  const behind = receivers.filter(({ state, lag, upTo }) => state !== 'standby' && lag > 0 && nowMs - upTo.getTime() > seconds * 1000)
  return behind.length === 0
    ? undefined
    : behind
        .map(
          ({ receiver, lag, upTo, lastError }) =>
            `${receiver}: ${String(lag)} entries since ${upTo.toISOString()}${lastError === undefined ? '' : ` (${lastError})`}`,
        )
        .join('; ')
}
