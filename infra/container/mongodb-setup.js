// Run by mongosh in the Compose file: a replica set of one member, and the platform's user. Changes nothing that is there already.
const { readFileSync } = require("node:fs")

const secret = (name) => readFileSync(`/run/secrets/${name}`, "utf8").trim()
const root = `mongodb://root:${encodeURIComponent(secret("mongodb_root_password"))}@mongodb:27017/admin?directConnection=true`
const admin = new Mongo(root).getDB("admin")

try {
  admin.adminCommand({ replSetGetStatus: 1 })
} catch {
  admin.adminCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] } })
}
while (!admin.hello().isWritablePrimary) sleep(200)

if (admin.getUser("tributary") === null)
  admin.createUser({
    user: "tributary",
    pwd: secret("mongodb_password"),
    roles: [
      { role: "readWrite", db: "tributary_views" },
      { role: "readWrite", db: "tributary_vault" }
    ]
  })
print("The replica set has a primary, and the user is there.")
