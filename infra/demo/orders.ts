/** Orders as Shopify sends them: the shape and the size of `orders/create`, made from a number so that a run can be repeated. */

export interface Order {
  readonly id: number
  readonly body: string
}

const people = [
  ["Mara", "Okafor", "Lagos", "NG"],
  ["Jonas", "Lindqvist", "Uppsala", "SE"],
  ["Ana", "Ribeiro", "Porto", "PT"],
  ["Yuki", "Tanabe", "Sapporo", "JP"],
  ["Zoë", "Müller-Weiß", "Köln", "DE"],
  ["Siobhán", "O’Neill", "Galway", "IE"]
] as const
const goods = [
  ["Enamel mug, 350 ml", "MUG-350", 1450],
  ["Linen tea towel", "TOWEL-LN", 1200],
  ["Cast-iron pan, 26 cm", "PAN-26", 6900],
  ["Olive-wood board", "BOARD-OL", 3850],
  ["Pepper mill", "MILL-PP", 4200]
] as const

const money = (cents: number): string => (cents / 100).toFixed(2)
const address = ([first, last, city, country]: (typeof people)[number], number: number) => ({
  first_name: first,
  last_name: last,
  address1: `${10 + (number % 80)} Harbour Street`,
  address2: null,
  phone: `+49 30 5550${String(100 + (number % 900))}`,
  city,
  zip: String(10_000 + ((number * 37) % 80_000)),
  province: null,
  country_code: country,
  company: null
})

const lines = (number: number) =>
  Array.from({ length: 1 + (number % 3) }, (_, index) => {
    const [title, sku, cents] = goods[(number + index) % goods.length]!
    return {
      id: 7_000_000_000 + number * 10 + index,
      product_id: 8_800_000 + ((number + index) % goods.length),
      variant_id: 44_100_000 + ((number + index) % goods.length),
      title,
      sku,
      quantity: 1 + ((number + index) % 2),
      price: money(cents),
      grams: 420,
      taxable: true,
      requires_shipping: true,
      fulfillment_status: null,
      vendor: "Harbour Goods"
    }
  })

/** About 2 KB of JSON. `at` is when it was placed, epoch milliseconds. */
export const makeOrder = (number: number, at: number): Order => {
  const id = 5_300_000_000_000 + number
  const person = people[number % people.length]!
  const items = lines(number)
  const subtotal = items.reduce((sum, { price, quantity }) => sum + Math.round(Number(price) * 100) * quantity, 0)
  const tax = Math.round(subtotal * 0.19)
  const placed = new Date(at).toISOString()
  const order = {
    id,
    admin_graphql_api_id: `gid://shopify/Order/${id}`,
    name: `#${1000 + number}`,
    order_number: 1000 + number,
    created_at: placed,
    processed_at: placed,
    currency: "EUR",
    subtotal_price: money(subtotal),
    total_tax: money(tax),
    total_price: money(subtotal + tax),
    taxes_included: false,
    financial_status: "paid",
    fulfillment_status: null,
    source_name: "web",
    tags: number % 5 === 0 ? "gift, priority" : "",
    note: number % 7 === 0 ? "Please leave it with the neighbours." : null,
    payment_gateway_names: ["shopify_payments"],
    customer: {
      id: 6_100_000_000 + (number % 40),
      email: `${person[0]
        .toLowerCase()
        .normalize("NFD")
        .replace(/[^a-z]/gu, "")}@example.com`,
      first_name: person[0],
      last_name: person[1],
      verified_email: true,
      default_address: address(person, number)
    },
    billing_address: address(person, number),
    shipping_address: address(person, number),
    shipping_lines: [{ id: 9_000_000 + number, title: "Standard", price: "4.90", code: "STD" }],
    line_items: items
  }
  return { id, body: JSON.stringify(order) }
}
