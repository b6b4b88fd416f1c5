namespace TransferEngine;

/// <summary>A device that was asked for is not there, or its driver refuses it.</summary>
public sealed class DeviceUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A step that can't be captured, since it reads the device, or is another from one time to the next.</summary>
public sealed class CaptureException(string message) : InvalidOperationException(message);

/// <summary>An allocation did not fit: past the limit that the user set, or past what the device has.</summary>
public sealed class DeviceMemoryException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A kernel could not be translated, loaded or launched, or failed as it ran; the message names it.</summary>
public sealed class DeviceKernelException(string message, Exception? inner = null) : Exception(message, inner);
