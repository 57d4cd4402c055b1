variable "ssh_cidr" {
  description = "The IPv4 range that may reach port 22, such as 203.0.113.7/32. There is no default."
  type        = string
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.ssh_cidr)) && try(tonumber(split("/", var.ssh_cidr)[1]) >= 16, false)
    error_message = "ssh_cidr must be an IPv4 range no wider than a /16; port 22 is never open to everyone."
  }
}

variable "ssh_public_key" {
  description = "Public key of the operator, in OpenSSH format."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+=*( [^\\n]*)?\\s*$", var.ssh_public_key))
    error_message = "ssh_public_key must be one line of an OpenSSH public key: ssh-ed25519, ecdsa-sha2-nistp* or ssh-rsa."
  }
}

variable "repository_url" {
  description = "Git repository of this project, readable without a password over HTTPS."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~/-]+$", var.repository_url))
    error_message = "repository_url must be an https:// URL without a user name, password or query."
  }
}

variable "repository_ref" {
  description = "Tag, commit or branch the host builds at first. A tag or a full commit gives the same host again."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", var.repository_ref)) && !strcontains(var.repository_ref, "..")
    error_message = "repository_ref must be the name of a tag or branch, or a commit."
  }
}

variable "root_volume_gib" {
  description = "Size of the encrypted root volume: system, build cache, images and the shop's database."
  type        = number
  default     = 40
  nullable    = false

  validation {
    condition     = var.root_volume_gib >= 20 && var.root_volume_gib <= 1000 && floor(var.root_volume_gib) == var.root_volume_gib
    error_message = "root_volume_gib must be a whole number from 20 to 1000."
  }
}

variable "termination_protection" {
  description = "Refuse to terminate the host, whose volume holds the orders; set to false and apply before a destroy."
  type        = bool
  default     = true
  nullable    = false
}
