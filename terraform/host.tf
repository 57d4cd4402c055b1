data "aws_ami" "ubuntu" {
  most_recent = true
  owners      = ["099720109477"] # Canonical

  filter {
    name   = "name"
    values = ["ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"]
  }

  filter {
    name   = "architecture"
    values = ["x86_64"]
  }

  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }

  filter {
    name   = "root-device-type"
    values = ["ebs"]
  }
}

resource "aws_key_pair" "operator" {
  key_name   = "dhakacart-operator"
  public_key = trimspace(var.ssh_public_key)
}

resource "aws_instance" "host" {
  #checkov:skip=CKV2_AWS_41:The host calls no AWS API, so it gets no role.
  ami                     = data.aws_ami.ubuntu.id
  instance_type           = "t3.medium"
  subnet_id               = aws_subnet.public.id
  vpc_security_group_ids  = [aws_security_group.host.id]
  key_name                = aws_key_pair.operator.key_name
  monitoring              = true
  ebs_optimized           = true
  disable_api_termination = var.termination_protection

  user_data = templatefile("${path.module}/host/cloud-init.yaml.tftpl", {
    repository_url = var.repository_url
    repository_ref = var.repository_ref
    deploy         = file("${path.module}/host/dhakacart-deploy")
    unit           = file("${path.module}/host/dhakacart.service")
  })

  # A sale day outlasts the credits a t3.medium has saved up.
  credit_specification {
    cpu_credits = "unlimited"
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # out of reach for the containers
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.root_volume_gib
    encrypted             = true
    delete_on_termination = true
  }

  tags        = { Name = "dhakacart" }
  volume_tags = { Name = "dhakacart" }

  lifecycle {
    # The volume holds the orders: a newer image of Ubuntu, or an edit of what runs at first boot only, is no
    # reason to make the host anew or to stop it.
    ignore_changes = [ami, user_data]
  }
}

resource "aws_eip" "host" {
  domain = "vpc"

  tags = { Name = "dhakacart" }

  depends_on = [aws_internet_gateway.shop]
}

resource "aws_eip_association" "host" {
  allocation_id = aws_eip.host.id
  instance_id   = aws_instance.host.id
}
