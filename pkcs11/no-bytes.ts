/** Nothing, at an address: SoftHSM refuses the null pointer that an empty Buffer is. */
export const NO_BYTES: Buffer = Buffer.alloc(8).subarray(0, 0)
