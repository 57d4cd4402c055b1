# Plans against a provider that is made up: no account, no network.
mock_provider "aws" {}

variables {
  ssh_cidr       = "203.0.113.7/32"
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBX7Jq0ZtkD8Q2rFh4mXv1x0n6c9sYdGm3uP5oLwE2aK operator"
  repository_url = "https://git.example/dhakacart/dhal.git"
  repository_ref = "v1.2.3"
}

run "exactly_three_ports_are_open" {
  command = plan

  assert {
    condition = {
      for name, rule in aws_vpc_security_group_ingress_rule.web : name => [rule.ip_protocol, rule.from_port, rule.to_port, rule.cidr_ipv4]
      } == {
      http  = ["tcp", 80, 80, "0.0.0.0/0"]
      https = ["tcp", 443, 443, "0.0.0.0/0"]
    }
    error_message = "80 and 443, TCP, are open to everyone, and nothing else is"
  }

  assert {
    condition = [
      aws_vpc_security_group_ingress_rule.ssh.ip_protocol,
      aws_vpc_security_group_ingress_rule.ssh.from_port,
      aws_vpc_security_group_ingress_rule.ssh.to_port,
      aws_vpc_security_group_ingress_rule.ssh.cidr_ipv4,
    ] == ["tcp", 22, 22, "203.0.113.7/32"]
    error_message = "22 is open to the operator's range alone"
  }
}

run "the_host_is_what_was_asked_for" {
  command = plan

  assert {
    condition     = aws_instance.host.instance_type == "t3.medium"
    error_message = "the host is a t3.medium"
  }

  assert {
    condition     = alltrue([for disk in aws_instance.host.root_block_device : disk.encrypted && disk.volume_type == "gp3"])
    error_message = "the root volume is encrypted and gp3"
  }

  assert {
    condition     = alltrue([for options in aws_instance.host.metadata_options : options.http_tokens == "required" && options.http_put_response_hop_limit == 1])
    error_message = "only IMDSv2, and not for containers"
  }

  assert {
    condition     = data.aws_ami.ubuntu.owners == tolist(["099720109477"])
    error_message = "the image comes from Canonical"
  }

  assert {
    condition     = aws_instance.host.disable_api_termination
    error_message = "the host is protected from termination by default"
  }

  assert {
    condition     = cidrsubnet(aws_vpc.shop.cidr_block, 2, 0) == aws_subnet.public.cidr_block && !aws_subnet.public.map_public_ip_on_launch
    error_message = "one subnet within the VPC; its only public address is the elastic one"
  }
}

run "first_boot_installs_and_starts_the_stack" {
  command = plan

  assert {
    condition     = startswith(aws_instance.host.user_data, "#cloud-config\n") && length(aws_instance.host.user_data) < 16384
    error_message = "user data is cloud-config within its size limit"
  }

  assert {
    condition     = length(setsubtract(["docker.io", "docker-buildx", "docker-compose-v2", "git"], yamldecode(aws_instance.host.user_data).packages)) == 0
    error_message = "the engine, compose and git are installed"
  }

  assert {
    condition = one([
      for file in yamldecode(aws_instance.host.user_data).write_files : file.content if file.path == "/etc/dhakacart/deploy.env"
    ]) == "REPOSITORY_URL=https://git.example/dhakacart/dhal.git\nREPOSITORY_REF=v1.2.3\n"
    error_message = "the host fetches the given ref of the given repository"
  }

  assert {
    condition = one([
      for file in yamldecode(aws_instance.host.user_data).write_files : file.content if file.path == "/usr/local/sbin/dhakacart-deploy"
    ]) == file("host/dhakacart-deploy")
    error_message = "the script arrives as it is"
  }

  assert {
    condition = alltrue([
      for line in ["Restart=always", "After=docker.service network-online.target", "WantedBy=multi-user.target"] : strcontains(one([
        for file in yamldecode(aws_instance.host.user_data).write_files : file.content if file.path == "/etc/systemd/system/dhakacart.service"
      ]), "\n${line}\n")
    ])
    error_message = "systemd starts the stack after docker, and always again"
  }

  assert {
    condition     = contains(yamldecode(aws_instance.host.user_data).runcmd, "systemctl enable --now --no-block dhakacart.service")
    error_message = "the service is enabled"
  }
}

run "outputs_name_the_elastic_address" {
  command = apply

  assert {
    condition     = output.public_ip == aws_eip.host.public_ip && output.shop_url == "https://${aws_eip.host.public_ip}/"
    error_message = "outputs point to the elastic address"
  }

  assert {
    condition     = aws_eip_association.host.instance_id == output.instance_id
    error_message = "the elastic address belongs to the host"
  }
}

run "ssh_from_everywhere_is_refused" {
  command = plan
  variables {
    ssh_cidr = "0.0.0.0/0"
  }
  expect_failures = [var.ssh_cidr]
}

run "ssh_from_half_of_everywhere_is_refused" {
  command = plan
  variables {
    ssh_cidr = "128.0.0.0/1"
  }
  expect_failures = [var.ssh_cidr]
}

run "ssh_from_every_ipv6_address_is_refused" {
  command = plan
  variables {
    ssh_cidr = "::/0"
  }
  expect_failures = [var.ssh_cidr]
}

run "an_address_without_a_range_is_refused" {
  command = plan
  variables {
    ssh_cidr = "203.0.113.7"
  }
  expect_failures = [var.ssh_cidr]
}

run "a_private_key_is_refused" {
  command = plan
  variables {
    ssh_public_key = "-----BEGIN OPENSSH PRIVATE KEY-----"
  }
  expect_failures = [var.ssh_public_key]
}

run "credentials_in_the_repository_url_are_refused" {
  command = plan
  variables {
    repository_url = "https://user:password@git.example/dhal.git"
  }
  expect_failures = [var.repository_url]
}

run "a_command_in_the_ref_is_refused" {
  command = plan
  variables {
    repository_ref = "main; reboot"
  }
  expect_failures = [var.repository_ref]
}

run "a_volume_too_small_to_build_on_is_refused" {
  command = plan
  variables {
    root_volume_gib = 8
  }
  expect_failures = [var.root_volume_gib]
}
