disable_mlock = true

seal "awskms" {
  region     = "ap-southeast-1"
  kms_key_id = "alias/vault-unseal-key"
}

storage "raft" {
  path    = "/opt/vault/data"
  node_id = "vault-1"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/run/secrets/vault.crt"
  tls_key_file  = "/run/secrets/vault.key"
}

api_addr     = "https://vault.agenticverz.com:8200"
cluster_addr = "https://vault.agenticverz.com:8201"
