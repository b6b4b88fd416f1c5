using System.Globalization;

namespace TransferEngine.Kernels.Tests;

/// <summary>What the instructions do.</summary>
internal sealed partial class PtxMachine
{
    private void Execute(Instruction i, PtxThread thread, int group)
    {
        string type = i.Words[^1];
        thread.At++;
        switch (i.Words[0])
        {
            case "bra":
                thread.At = labels[i.Operands[0]];
                return;
            case "ret":
                thread.At = -1;
                return;
            case "ld" or "st":
                Access(i, thread, group, type);
                return;
            case "cp":
                Copy(i, thread, group);
                return;
        }
        if (i.Operands.Length == 0)
            throw new NotSupportedException("unknown");
        ulong x = Value(thread, i.Operands[1], group), y = i.Operands.Length > 2 ? Value(thread, i.Operands[2], group) : 0, z = i.Operands.Length > 3 ? Value(thread, i.Operands[3], group) : 0;
        bool wide = type is "s64" or "u64" or "b64";
        ulong result = i.Words[0] switch
        {
            "mov" or "cvta" => x,
            "add" when type == "f32" => BitConverter.SingleToUInt32Bits(Float(x) + Float(y)),
            "sub" when type == "f32" => BitConverter.SingleToUInt32Bits(Float(x) - Float(y)),
            "add" or "sub" or "mul" when type[0] == 'f' => throw new NotSupportedException("unknown"),
            "add" => x + y,
            "sub" => x - y,
            "mad" when i.Words[1] == "lo" => x * y + z,
            "mul" when i.Words[1] == "lo" => x * y,
            "mul" when i.Words[1] == "wide" && type == "u32" => (ulong)(uint)x * (uint)y,
            "mul" when i.Words[1] == "wide" && type == "s32" => (ulong)((long)(int)x * (int)y),
            "div" when type == "s32" => (ulong)((int)x / (int)y),
            "min" when type == "s32" => (ulong)Math.Min((int)x, (int)y),
            "max" when type == "s32" => (ulong)Math.Max((int)x, (int)y),
            "shl" => x << (int)y,
            "shr" when type == "s32" => (ulong)((int)x >> (int)y),
            "shr" when type == "u32" => (uint)x >> (int)y,
            "shr" when type == "u64" => x >> (int)y,
            "and" => x & y,
            "or" => x | y,
            "xor" => x ^ y,
            "selp" => z != 0 ? x : y,
            "setp" => Compare(i.Words[1], type, x, y) ? 1u : 0u,
            "fma" when type == "f32" => BitConverter.SingleToUInt32Bits(MathF.FusedMultiplyAdd(Float(x), Float(y), Float(z))),
            "cvt" => Convert(string.Join('.', i.Words[1..]), x),
            _ => throw new NotSupportedException("unknown"),
        };
        bool longResult = wide || i.Words[0] == "cvta" || (i.Words[0] == "mul" && i.Words[1] == "wide") || (i.Words[0] == "cvt" && i.Words[1] is "s64" or "u64");
        thread.Values[registers[i.Operands[0]]] = longResult ? result : (uint)result;
    }

    private static bool Compare(string how, string type, ulong x, ulong y)
    {
        long a = type == "s32" ? (int)x : type == "u32" ? (uint)x : type == "s64" ? (long)x : throw new NotSupportedException(type), b = type == "s32" ? (int)y : type == "u32" ? (uint)y : (long)y;
        return how switch
        {
            "lt" => a < b,
            "le" => a <= b,
            "gt" => a > b,
            "ge" => a >= b,
            "eq" => a == b,
            "ne" => a != b,
            "lo" => (ulong)a < (ulong)b,
            "ls" => (ulong)a <= (ulong)b,
            "hi" => (ulong)a > (ulong)b,
            "hs" => (ulong)a >= (ulong)b,
            _ => throw new NotSupportedException(how),
        };
    }

    private static ulong Convert(string kind, ulong x) => kind switch
    {
        "s64.s32" => (ulong)(int)x,
        "u16.u32" or "s32.u16" or "u32.u16" => (ushort)x,
        "u64.u32" => (uint)x,
        "u32.u64" or "s32.u64" or "s32.s64" => (uint)x,
        "rna.tf32.f32" => RoundedToTensorFloat32((uint)x),
        "rn.bf16.f32" => RoundedToBFloat16((uint)x),
        "rn.f16.f32" => BitConverter.HalfToUInt16Bits((Half)Float(x)),
        _ => throw new NotSupportedException(kind),
    };

    /// <summary>13 bits of the fraction less, halves away from zero.</summary>
    internal static uint RoundedToTensorFloat32(uint bits) => (bits + (1u << 12)) & ~((1u << 13) - 1);

    /// <summary>The upper half, rounded to nearest, halves to even.</summary>
    internal static uint RoundedToBFloat16(uint bits) => (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;

    private void Access(Instruction i, PtxThread thread, int group, string type)
    {
        int bytes = type switch { "b8" => 1, "b16" => 2, "b32" or "f32" or "s32" or "u32" => 4, "b64" or "u64" or "s64" => 8, _ => throw new NotSupportedException(type) };
        bool load = i.Words[0] == "ld";
        string[] parts = Parts(i.Operands[load ? 0 : 1]);
        string memory = i.Operands[load ? 1 : 0];
        if (i.Words[1] == "param")
        {
            if (memory.StartsWith("[_item", StringComparison.Ordinal))
            {
                thread.Values[registers[parts[0]]] = (ulong)items;
                return;
            }
            string[] offset = memory.Trim('[', ']').Split('+');
            thread.Values[registers[parts[0]]] = Read(parameters.AsSpan(offset.Length > 1 ? int.Parse(offset[1], CultureInfo.InvariantCulture) : 0, bytes));
            return;
        }
        int all = bytes * parts.Length;
        long place = Place(thread, memory);
        var span = i.Words[1] == "shared" ? Shared(thread, place, all, !load) : i.Words.Length == 2 ? Global(place, all) : throw new NotSupportedException(i.Words[1]);
        for (int part = 0; part < parts.Length; part++)
        {
            var piece = span.Slice(part * bytes, bytes);
            if (load)
                thread.Values[registers[parts[part]]] = Read(piece);
            else
                Write(piece, Value(thread, parts[part], group));
        }
    }

    private void Copy(Instruction i, PtxThread thread, int group)
    {
        switch (i.Words[2])
        {
            case "commit_group":
                thread.Copies.Add(thread.OpenCopies);
                thread.OpenCopies = [];
                return;
            case "wait_all":
                thread.Copies.Add(thread.OpenCopies);
                thread.OpenCopies = [];
                Wait(thread, 0);
                return;
            case "wait_group":
                Wait(thread, int.Parse(i.Operands[0], CultureInfo.InvariantCulture));
                return;
        }
        int size = int.Parse(i.Operands[2], CultureInfo.InvariantCulture), present = (int)Value(thread, i.Operands[3], group);
        if (present < 0 || present > size || (i.Words[2] == "cg" && size != 16) || !(size is 4 or 8 or 16))
            throw new InvalidOperationException($"{present} bytes of {size}");
        var data = new byte[size];
        long from = Place(thread, i.Operands[1]), to = Place(thread, i.Operands[0]);
        if ((from - GlobalBase) % size != 0 || to % size != 0)
            throw new InvalidOperationException($"{size} bytes are copied from {from - GlobalBase} to {to}");
        if (present > 0)
            Global(from, present, aligned: false).CopyTo(data);
        thread.OpenCopies.Add(((int)to, data, epoch));
    }

    private void Wait(PtxThread thread, int open)
    {
        while (thread.Copies.Count > open)
        {
            Arrive(thread, thread.Copies[0]);
            thread.Copies.RemoveAt(0);
        }
    }

    /// <summary>What the lanes of a warp do as one.</summary>
    private void Together(Instruction i, PtxThread[] warp)
    {
        Executed[i.Words[0]] = Executed.GetValueOrDefault(i.Words[0]) + warp.Length;
        if (warp.Length != Lanes)
            throw new InvalidOperationException("A matrix instruction wants a whole warp.");
        if (i.Words[0] == "ldmatrix")
            LoadMatrices(i, warp);
        else
            MultiplyMatrices(i, warp);
    }

    /// <summary>ldmatrix: lanes 8 m to 8 m + 7 name the rows of matrix m, of eight 16-bit numbers; a lane gets two neighbours of row lane / 4, of the transposed matrix if that is asked for.</summary>
    private void LoadMatrices(Instruction i, PtxThread[] warp)
    {
        string[] targets = Parts(i.Operands[0]);
        if (i.Text.IndexOf(".m8n8.", StringComparison.Ordinal) < 0 || !i.Words.Contains($"x{targets.Length}") || !i.Words.Contains("shared") || i.Words[^1] != "b16")
            throw new NotSupportedException(i.Text);
        for (int m = 0; m < targets.Length; m++)
        {
            var matrix = new ushort[8, 8];
            for (int row = 0; row < 8; row++)
            {
                var bytes = Shared(warp[8 * m + row], Place(warp[8 * m + row], i.Operands[1]), 16, write: false);
                for (int column = 0; column < 8; column++)
                    matrix[row, column] = (ushort)Read(bytes.Slice(2 * column, 2));
            }
            foreach (var thread in warp)
            {
                int lane = thread.Index % Lanes, row = lane / 4, column = 2 * (lane % 4);
                var (low, high) = i.Words.Contains("trans") ? (matrix[column, row], matrix[column + 1, row]) : (matrix[row, column], matrix[row, column + 1]);
                thread.Values[registers[targets[m]]] = low | ((uint)high << 16);
            }
        }
    }

    /// <summary>mma, 16 x 8 sums: A of 16 x K in four registers, B of K x 8 in two, C and D in four; K is 8 numbers of 32 bits or 16 of 16 bits.</summary>
    private void MultiplyMatrices(Instruction i, PtxThread[] warp)
    {
        string shape = i.Words[3], type = i.Words[^2];
        int depth = shape == "m16n8k8" ? 8 : shape == "m16n8k16" ? 16 : throw new NotSupportedException(shape), packed = depth / 8;
        if (string.Join('.', i.Words[1..3]) != "sync.aligned" || string.Join('.', i.Words[4..6]) != "row.col" || i.Words[6] != "f32" || i.Words[^1] != "f32" || i.Words[7] != type || (type == "tf32") != (depth == 8))
            throw new NotSupportedException(i.Text);
        string[] d = Parts(i.Operands[0]), a = Parts(i.Operands[1]), b = Parts(i.Operands[2]), c = Parts(i.Operands[3]);
        var (left, right, sums) = (new double[16, depth], new double[depth, 8], new double[16, 8]);
        foreach (var thread in warp)
        {
            int lane = thread.Index % Lanes, g = lane / 4, s = lane % 4;
            for (int part = 0; part < packed; part++)
            {
                // Register r of A: rows of the second half where r is odd, columns of the second half from r = 2 on.
                for (int r = 0; r < 4; r++)
                    left[g + 8 * (r % 2), packed * s + part + depth / 2 * (r / 2)] = Number(thread.Values[registers[a[r]]], type, part);
                for (int r = 0; r < 2; r++)
                    right[packed * s + part + depth / 2 * r, g] = Number(thread.Values[registers[b[r]]], type, part);
            }
            for (int r = 0; r < 4; r++)
                sums[g + 8 * (r / 2), 2 * s + r % 2] = Float(thread.Values[registers[c[r]]]);
        }
        for (int row = 0; row < 16; row++)
            for (int column = 0; column < 8; column++)
                for (int k = 0; k < depth; k++)
                    sums[row, column] += left[row, k] * right[k, column];
        foreach (var thread in warp)
        {
            int lane = thread.Index % Lanes, g = lane / 4, s = lane % 4;
            for (int r = 0; r < 4; r++)
                thread.Values[registers[d[r]]] = BitConverter.SingleToUInt32Bits((float)sums[g + 8 * (r / 2), 2 * s + r % 2]);
        }
    }

    /// <summary>A number of a register as the matrix unit sees it: of TensorFloat32 the lower 13 bits do not count.</summary>
    private static double Number(ulong register, string type, int part)
    {
        ushort half = (ushort)(register >> (16 * part));
        return type switch
        {
            "tf32" => Float((uint)register & ~((1u << 13) - 1)),
            "bf16" => Float((ulong)half << 16),
            "f16" => (double)BitConverter.UInt16BitsToHalf(half),
            _ => throw new NotSupportedException(type),
        };
    }
}
