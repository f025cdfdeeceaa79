/** Where a connection comes from, as limits count it: an address, of IPv6 the network of its host. */

/** IPv6 clients are counted per /64, because one host controls the whole prefix. */
export function networkOf(address: string): string {
  const plain = unmapped(address);
  if (!plain.includes(":")) return plain;
  const [front = "", back] = (plain.split("%", 1)[0] ?? plain).split("::");
  const groups = front === "" ? [] : front.split(":");
  if (back !== undefined) {
    const tail = back === "" ? [] : back.split(":");
    while (groups.length + tail.length < 8) groups.push("0");
    groups.push(...tail);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/** An IPv4 address in IPv6 notation as what it is; every other text as it stands. */
export function unmapped(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}
